package bench

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

// Bounds of a Config. They keep a typing error from filling the machine.
const (
	MaxNodes     = 1_000
	MaxCallers   = 100_000 // of all nodes together
	MaxTenants   = 1_000_000
	MaxDuration  = 24 * time.Hour
	MaxMaxOutput = 100_000_000
)

// Config says what to run. [Defaults] is a good start; a field has no other
// default than that.
type Config struct {
	Engine      string        // report.EngineRedis or report.EngineLocal
	Redis       string        // as scratch.Open takes it; "" with report.EngineLocal
	Nodes       int           // coordinators; 1 with report.EngineLocal
	Tenants     int           // budgets
	Concurrency int           // callers a node
	Duration    time.Duration // with a Trace, 0 is as long as it lasts
	Seed        uint64
	Baseline    bool // measure INCR and a script a call as well; it takes three times as long

	Trace       string            // CSV file of TIMESTAMP,ContextTokens,GeneratedTokens; "" draws requests from the seed
	InputPrice  budget.Microcents // a million context tokens
	OutputPrice budget.Microcents // a million generated tokens
	MaxOutput   int64             // generated tokens that a request reserves
	Budget      budget.Microcents // of every tenant; 0 makes them very different

	Logger *slog.Logger // hears the engine's warnings; nil is silence

	tamper func(*arena) error // for tests: it runs before the books are read
}

// Defaults is the run that `bursar bench` makes without a flag.
func Defaults() Config {
	return Config{
		Engine: report.EngineRedis, Redis: scratch.Embedded,
		Nodes: 3, Tenants: 100, Concurrency: 64,
		Duration: 10 * time.Second, Seed: 1,
		InputPrice: 250 * budget.Cent, OutputPrice: 10 * budget.Dollar, MaxOutput: 4096,
	}
}

// Validate returns all that is wrong with a Config, by the names of the flags,
// with the exit code Usage.
func (c Config) Validate() error {
	var errs []error
	between := func(flag string, value, lowest, highest int64) {
		if value < lowest || value > highest {
			errs = append(errs, fmt.Errorf("--%s %d: give %d to %d", flag, value, lowest, highest))
		}
	}
	between("nodes", int64(c.Nodes), 1, MaxNodes)
	between("tenants", int64(c.Tenants), 1, MaxTenants)
	between("concurrency", int64(c.Concurrency), 1, MaxCallers)
	between("max-output", c.MaxOutput, 1, MaxMaxOutput)
	if len(errs) == 0 && c.Nodes*c.Concurrency > MaxCallers {
		errs = append(errs, fmt.Errorf("%d nodes of %d callers: give at most %d callers together", c.Nodes, c.Concurrency, MaxCallers))
	}
	if c.Duration < 0 || c.Duration > MaxDuration || c.Duration == 0 && c.Trace == "" {
		errs = append(errs, fmt.Errorf("--duration %s: give more than 0s, at most %s", c.Duration, MaxDuration))
	}
	if c.InputPrice < 0 || c.OutputPrice < 0 || c.InputPrice == 0 && c.OutputPrice == 0 {
		errs = append(errs, fmt.Errorf("prices of %s and %s: give at least one above $0.00, none below", c.InputPrice, c.OutputPrice))
	}
	if c.Budget < 0 {
		errs = append(errs, fmt.Errorf("--budget %s: give more than $0.00", c.Budget))
	}
	errs = append(errs, c.validateEngine())
	return exit.With(exit.Usage, errors.Join(errs...))
}

func (c Config) validateEngine() error {
	switch {
	case c.Engine != report.EngineRedis && c.Engine != report.EngineLocal:
		return fmt.Errorf("--engine %q: give %s or %s", c.Engine, report.EngineRedis, report.EngineLocal)
	case c.Engine == report.EngineRedis:
		return nil
	case c.Redis != "":
		return errors.New("--engine local uses no Redis: leave out --redis, or give --engine redis")
	case c.Nodes != 1:
		return fmt.Errorf("--engine local is a single node: leave out --nodes %d, or give --engine redis", c.Nodes)
	case c.Baseline:
		return errors.New("--baseline measures the Redis beside ours: leave it out, or give --engine redis")
	default:
		return nil
	}
}
