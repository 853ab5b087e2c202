package bench

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/layout"
)

// Bounds of a Config. They keep a typing error from filling the machine.
const (
	MaxNodes     = 1_000
	MaxCallers   = 100_000 // of all nodes together
	MaxTenants   = 1_000_000
	MaxDuration  = 24 * time.Hour
	MaxRequests  = 1_000_000_000_000
	MaxMaxOutput = 100_000_000
	MaxZipf      = 10
	MaxHoldTime  = 10 * time.Minute // the engine releases a hold after 15
	MaxOpenHolds = 100_000          // of an open loop with a hold time
	MaxRate      = 10_000_000
	MinSpeed     = 0.01
	MaxSpeed     = 1_000_000
	MaxBefore    = 1_000_000 // holds made before the measurement
	MaxRounds    = 1_000
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
	Requests    int64         // of all callers, after which it ends before Duration; 0 is no bound
	Seed        uint64
	Against     []string // contenders beside ours, by the names of package contender; each takes as long again
	Rounds      int      // in which the contenders take turns; 0 is 5 with contenders, 1 without

	Workload string        // one of the constants; a Trace stands for it
	Zipf     float64       // exponent of WorkloadZipf
	Above    int           // requests of a thousand that commit above their hold
	HoldTime time.Duration // between a reserve and its settlement
	Rate     float64       // requests a second of all nodes at constant intervals; 0 is a closed loop
	Speed    float64       // of a Trace: 1 is its own pace, 0 as fast as possible
	Warmup   time.Duration // before the first round, not measured; AutoWarmup
	// Processes makes every node a process of its own, with which this one deals over
	// pipes: this program again, as os.Executable finds it, with the arguments "bench node".
	Processes bool

	Trace       string            // CSV file of TIMESTAMP,ContextTokens,GeneratedTokens; "" draws requests from the seed
	InputPrice  budget.Microcents // a million context tokens
	OutputPrice budget.Microcents // a million generated tokens
	MaxOutput   int64             // generated tokens that a request reserves
	Budget      budget.Microcents // of every tenant; 0 makes them very different

	HoldsBefore int // open holds that are made before the measurement, of the tenants in turns, a microcent each; without contenders

	Prefix      string // of the keys on a Redis of the user's; "" takes a random one
	SharePrefix bool   // though others have keys under Prefix already; they are left alone

	Logger *slog.Logger   `json:"-"` // hears the engine's warnings; nil is silence
	Watch  func(Progress) `json:"-"` // is called about four times a second, by one goroutine at a time; or nil

	patience time.Duration      // for tests: in place of prepareTimeout, unless 0
	tamper   func(*arena) error // for tests: it runs before the books are read
}

// Defaults is the run that `bursar bench` makes without a flag.
func Defaults() Config {
	return Config{
		Engine: report.EngineRedis, Redis: scratch.Embedded,
		Nodes: 3, Tenants: 100, Concurrency: 64,
		Duration: 10 * time.Second, Seed: 1,
		Workload: WorkloadUniform, Zipf: 1.1, Above: 10, Warmup: AutoWarmup,
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
	between("requests", c.Requests, 0, MaxRequests)
	between("holds", int64(c.HoldsBefore), 0, MaxBefore)
	between("max-output", c.MaxOutput, 1, MaxMaxOutput)
	if c.Rounds != 0 {
		between("rounds", int64(c.Rounds), 1, MaxRounds)
	}
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
	for _, name := range c.Against {
		if !slices.Contains(contender.All, name) {
			errs = append(errs, fmt.Errorf("a contender %q: give some of %v", name, contender.All))
		}
	}
	errs = append(errs, c.validateWorkload(), c.validateArrivals(), c.validateEngine(), c.validatePrefix())
	return exit.With(exit.Usage, errors.Join(errs...))
}

// AutoWarmup is a tenth of the duration, at most 2 s, and none for a trace.
const AutoWarmup time.Duration = -1

func (c Config) warmup() time.Duration {
	switch {
	case c.Warmup != AutoWarmup:
		return c.Warmup
	case c.Trace != "":
		return 0
	default:
		return min(c.Duration/10, 2*time.Second)
	}
}

func (c Config) validateWorkload() error {
	var errs []error
	if c.Workload == WorkloadHot && c.Tenants != 1 {
		errs = append(errs, fmt.Errorf("--workload hot is one tenant: leave out --tenants %d, or give --workload uniform", c.Tenants))
	}
	known := []string{WorkloadUniform, WorkloadHot, WorkloadZipf, WorkloadStorm}
	if !slices.Contains(known, c.Workload) {
		errs = append(errs, fmt.Errorf("--workload %q: give %s", c.Workload, strings.Join(known, ", ")))
	}
	if !(c.Zipf > 0 && c.Zipf <= MaxZipf) {
		errs = append(errs, fmt.Errorf("--zipf %g: give an exponent above 0, at most %d", c.Zipf, MaxZipf))
	}
	if c.Above < 0 || c.Above > allParts {
		errs = append(errs, fmt.Errorf("--above %d: give 0 to %d requests of a thousand", c.Above, allParts))
	}
	if c.HoldTime < 0 || c.HoldTime > MaxHoldTime {
		errs = append(errs, fmt.Errorf("--hold-time %s: give 0s to %s", c.HoldTime, MaxHoldTime))
	}
	return errors.Join(errs...)
}

func (c Config) validateArrivals() error {
	var errs []error
	if !(c.Rate >= 0 && c.Rate <= MaxRate) {
		errs = append(errs, fmt.Errorf("--rate %g: give requests a second above 0, at most %d", c.Rate, MaxRate))
	} else if c.HoldTime > 0 && c.Rate*c.HoldTime.Seconds() > MaxOpenHolds {
		errs = append(errs, fmt.Errorf("--rate %g with --hold-time %s: give less, so that at most %d holds are open together", c.Rate, c.HoldTime, MaxOpenHolds))
	}
	switch {
	case c.Speed != 0 && !(c.Speed >= MinSpeed && c.Speed <= MaxSpeed):
		errs = append(errs, fmt.Errorf("--speed %g: give 0 (as fast as possible), or %g to %d", c.Speed, MinSpeed, MaxSpeed))
	case c.Speed > 0 && c.Trace == "":
		errs = append(errs, fmt.Errorf("--speed %g is of a trace: give --trace, or --rate for a constant rate", c.Speed))
	case c.Speed > 0 && c.Rate > 0:
		errs = append(errs, errors.New("--speed and --rate are two arrival rates: leave out one"))
	}
	if c.Warmup < 0 && c.Warmup != AutoWarmup || c.Warmup > MaxDuration {
		errs = append(errs, fmt.Errorf("--warmup %s: give 0s to %s", c.Warmup, MaxDuration))
	}
	if c.Warmup > 0 && c.Trace != "" {
		errs = append(errs, errors.New("--warmup: a trace is played once, as it is; leave out one of both"))
	}
	return errors.Join(errs...)
}

func (c Config) validateEngine() error {
	switch {
	case c.Engine != report.EngineRedis && c.Engine != report.EngineLocal:
		return fmt.Errorf("--engine %q: give %s or %s", c.Engine, report.EngineRedis, report.EngineLocal)
	case c.Engine == report.EngineRedis:
		return nil
	case c.Processes:
		return errors.New("--processes: the local engine is in this process; leave it out, or give --engine redis")
	case c.Redis != "":
		return errors.New("--engine local uses no Redis: leave out --redis, or give --engine redis")
	case c.Nodes != 1:
		return fmt.Errorf("--engine local is a single node: leave out --nodes %d, or give --engine redis", c.Nodes)
	case c.Prefix != "":
		return errors.New("--prefix is of a Redis' keys: leave it out, or give --engine redis")
	case len(c.Against) > 0:
		return errors.New("--against and --baseline measure beside ours on Redis: leave them out, or give --engine redis, of which local can be a contender")
	default:
		return nil
	}
}

func (c Config) validatePrefix() error {
	switch {
	case c.Prefix != "":
		longest := c.Prefix
		if len(c.Against) > 0 {
			longest += raceSuffix
		}
		if err := layout.ValidatePrefix(longest); err != nil {
			return fmt.Errorf("--prefix: %w", err)
		}
		return nil
	case c.SharePrefix:
		return errors.New("--share-prefix is about a --prefix: give that too, or leave both out for a random one")
	default:
		return nil
	}
}
