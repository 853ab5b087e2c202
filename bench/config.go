package bench

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

// Bounds of a Config. They keep a typing error from filling the machine.
const (
	MaxNodes      = 1_000
	MaxPartitions = 1_024
	MaxCallers    = 100_000 // of all nodes together
	MaxDuration   = 24 * time.Hour
	MaxBefore     = 1_000_000 // holds made before the measurement
	MaxRounds     = 1_000
)

// Config says what to run. [Defaults] is a good start; a tenantSet has no other
// default than that.
type Config struct {
	workload.Spec // what is played

	Engine      string          // report.EngineRedis or report.EngineLocal
	Redis       string          // as scratch.Open takes it; "" with report.EngineLocal
	Secrets     connect.Secrets // beside the URL of a Redis of the user's
	Nodes       int             // coordinators; 1 with report.EngineLocal
	Partitions  int             // of the keys; 0 is the coordinator's default
	Concurrency int             // callers a node
	Duration    time.Duration   // after which it ends, if it has not ended by itself; with a Trace, 0 is as long as it lasts
	Warmup      time.Duration   // before the first round, not measured; AutoWarmup
	Baselines   []string        // names of package baseline; each takes as long again as Bursar
	Rounds      int             // in which the contenders take turns; 0 is 5 with contenders, 1 without
	// Processes makes every node a process of its own, with which this one deals over
	// pipes: this program again, as os.Executable finds it, with the arguments "bench node".
	Processes bool

	Budget      budget.Microcents // of every tenant; 0 makes them very different
	HoldsBefore int               // open holds that are made before the measurement, of the tenants in turns, a microcent each; without contenders

	Prefix string // of the keys on a Redis of the user's; "" takes a random one

	Input  io.Reader             `json:"-"` // where the Trace workload.StandardInput comes from; nil is os.Stdin
	Opened func(redis string)    `json:"-"` // is called with the name of the Redis that has answered, before anything is written; or nil
	Logger *slog.Logger          `json:"-"` // hears the engine's warnings; nil is silence
	Watch  func(report.Progress) `json:"-"` // is called about four times a second, by one goroutine at a time; or nil

	patience time.Duration                                      // for tests: in place of prepareTimeout and contentionLimit, unless 0
	tamper   func(*target) error                                // for tests: it runs before the check of balances
	meet     func(contender string, node redis.UniversalClient) // for tests: it sees each client of what is written by hand
}

// Defaults is the run that `bursar bench` makes without a flag.
func Defaults() Config {
	return Config{
		Spec:   workload.Defaults(),
		Engine: report.EngineRedis, Redis: scratch.Embedded,
		Nodes: 3, Concurrency: 64, Duration: 10 * time.Second, Warmup: AutoWarmup,
	}
}

// Validate returns all that is wrong with a Config, by the names of the flags,
// with the exit code Usage.
func (c Config) Validate() error {
	errs := []error{
		workload.Within("nodes", int64(c.Nodes), 1, MaxNodes),
		workload.Within("concurrency", int64(c.Concurrency), 1, MaxCallers),
	}
	if c.Partitions < 0 || c.Partitions > MaxPartitions || c.Partitions&(c.Partitions-1) != 0 {
		errs = append(errs, fmt.Errorf("--partitions %d: give a power of two from 1 to %d", c.Partitions, MaxPartitions))
	}
	if c.HoldsBefore < 0 || c.HoldsBefore > MaxBefore { // it has no flag
		errs = append(errs, fmt.Errorf("%d open holds: give 0 to %d", c.HoldsBefore, MaxBefore))
	}
	if c.Rounds != 0 {
		errs = append(errs, workload.Within("rounds", int64(c.Rounds), 1, MaxRounds))
	}
	if errors.Join(errs...) == nil && c.Nodes*c.Concurrency > MaxCallers {
		errs = append(errs, fmt.Errorf("%d nodes of %d callers: give at most %d callers together", c.Nodes, c.Concurrency, MaxCallers))
	}
	if c.Duration < 0 || c.Duration > MaxDuration || c.Duration == 0 && c.Trace == "" {
		errs = append(errs, fmt.Errorf("--duration %s: give more than 0s, at most %s", c.Duration, MaxDuration))
	}
	if c.Budget < 0 {
		errs = append(errs, fmt.Errorf("--budget %s: give more than $0.00", c.Budget))
	}
	for _, name := range c.Baselines {
		if !slices.Contains(baseline.All, name) {
			errs = append(errs, fmt.Errorf("baseline %q: give some of %v", name, baseline.All))
		}
	}
	errs = append(errs, c.Spec.Validate(), c.validateWarmup(), c.validateEngine(), c.validatePrefix())
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

// runner is what each contender's runner is.
func (c Config) runner() runner.Config {
	f := runner.Config{
		Spec: c.Spec, Local: c.Engine == report.EngineLocal, Concurrency: c.Concurrency,
		Warmup: c.warmup(), Tick: metrics.SampleInterval(c.Duration),
		Partitions: c.Partitions, HoldTTL: budget.DefaultHoldTTL, MaxHolds: coordinator.DefaultMaxHolds + c.HoldsBefore,
	}
	if c.HoldsBefore > 0 {
		f.HoldTTL = 2 * MaxDuration // they are to outlive the measurement
	}
	return f
}

// warmupOf is how long one of so many pools warms up: no longer than its part of a round.
func (c Config) warmupOf(pools int) time.Duration {
	if c.Duration == 0 {
		return c.warmup()
	}
	return min(c.warmup(), share(share(c.Duration, c.rounds()), pools))
}

func (c Config) validateWarmup() error {
	switch {
	case c.Warmup < 0 && c.Warmup != AutoWarmup || c.Warmup > MaxDuration:
		return fmt.Errorf("--warmup %s: give 0s to %s", c.Warmup, MaxDuration)
	case c.Warmup > 0 && c.Trace != "":
		return errors.New("--warmup: a trace is played once, as it is; leave out one of both")
	default:
		return nil
	}
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
	case c.Partitions != 0:
		return errors.New("--partitions are of a Redis' keys: leave it out, or give --engine redis")
	case c.Prefix != "":
		return errors.New("--prefix is of a Redis' keys: leave it out, or give --engine redis")
	case len(c.Baselines) > 0:
		return errors.New("--baselines run on Redis: leave it out, or give --engine redis, with local as a baseline")
	default:
		return nil
	}
}

func (c Config) validatePrefix() error {
	if c.Prefix == "" {
		return nil
	}
	longest := c.Prefix
	if len(c.Baselines) > 0 {
		longest += contentionSuffix
	}
	if err := scratch.ValidatePrefix(longest); err != nil {
		return fmt.Errorf("--prefix: %w", err)
	}
	return nil
}
