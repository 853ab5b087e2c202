package bench

import (
	"cmp"
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

// Bounds of a Config, so that a typing error does not fill the machine.
const (
	maxNodes      = 1_000
	maxPartitions = 1_024
	maxWorkers    = 100_000 // of all nodes together
	maxDuration   = 24 * time.Hour
	maxBefore     = 1_000_000 // holds open before the measurement
	maxRounds     = 1_000
)

// Config describes a run. Start from [Defaults]; fields have no other defaults.
type Config struct {
	workload.Spec

	Engine      string          // report.EngineRedis or report.EngineLocal
	Redis       string          // as scratch.Open takes it; "" with report.EngineLocal
	Secrets     connect.Secrets // of a server of the user's, unless in its URL
	Nodes       int             // coordinators; 1 with report.EngineLocal
	Partitions  int             // of the keys; 0 is the coordinator's default
	Concurrency int             // workers per node
	Levels      int             // of each tenant; above 1, all tenants are below one root
	FanOut      int             // maximum number of groups directly below the root or a group
	Limits      int             // of each account; above 1, windows beside its base limit
	RollEvery   time.Duration   // interval at which the budgets renew; 0 for never
	Duration    time.Duration   // at most; with a Trace, 0 is unlimited
	Warmup      time.Duration   // before the first round, not measured; or AutoWarmup
	Baselines   []string        // names of package baseline; each takes as long again as Bursar
	Rounds      int             // interleaved; 0 is 5 with baselines, 1 without
	Processes   bool            // whether each node is a process: os.Executable with the arguments "bench node"

	Budget      budget.Microcents // of every tenant; 0 is from small to huge
	LimitAmount budget.Microcents // of each limit beside the base limit; 0 is twice the budget
	HoldsBefore int               // holds of a microcent, open before the measurement; without baselines

	Prefix string // of the keys on a server of the user's; "" is a random one

	Input  io.Reader             `json:"-"` // for a Trace from standard input; nil is os.Stdin
	Opened func(redis string)    `json:"-"` // gets the name of the Redis before anything is written; or nil
	Logger *slog.Logger          `json:"-"` // of the engine's warnings; or nil
	Watch  func(report.Progress) `json:"-"` // gets the progress about four times a second; or nil

	rollFrom time.Time                                     // start of the first interval of RollEvery
	patience time.Duration                                 // for tests: replaces prepareTimeout and contentionLimit, unless 0
	tamper   func(*target) error                           // for tests: runs before the check of balances
	meet     func(name string, node redis.UniversalClient) // for tests: gets each client of a baseline
}

// Defaults returns the Config of `bursar bench` without flags.
func Defaults() Config {
	return Config{
		Spec:   workload.Defaults(),
		Engine: report.EngineRedis, Redis: scratch.Embedded,
		Levels: 1, FanOut: defaultFanOut, Limits: 1,
		Nodes: 3, Concurrency: 64, Duration: 10 * time.Second, Warmup: AutoWarmup,
	}
}

// Validate returns every error of a Config, with the names of the flags and exit code Usage.
func (c Config) Validate() error {
	require := workload.Require
	errs := []error{
		workload.Within("nodes", int64(c.Nodes), 1, maxNodes),
		workload.Within("concurrency", int64(c.Concurrency), 1, maxWorkers),
		require(c.Nodes > maxNodes || c.Concurrency > maxWorkers || c.Nodes*c.Concurrency <= maxWorkers,
			"%d nodes of %d workers: give at most %d workers together", c.Nodes, c.Concurrency, maxWorkers),
		require(c.Partitions >= 0 && c.Partitions <= maxPartitions && c.Partitions&(c.Partitions-1) == 0,
			"--partitions %d: give a power of two from 1 to %d", c.Partitions, maxPartitions),
		require(c.HoldsBefore >= 0 && c.HoldsBefore <= maxBefore, // has no flag
			"%d open holds: give 0 to %d", c.HoldsBefore, maxBefore),
		require(c.Rounds >= 0 && c.Rounds <= maxRounds, "--rounds %d: give 1 to %d", c.Rounds, maxRounds),
		require(c.Duration >= 0 && c.Duration <= maxDuration && (c.Duration > 0 || c.Trace != ""),
			"--duration %s: give more than 0s, at most %s", c.Duration, maxDuration),
		require(c.Warmup == AutoWarmup || c.Warmup >= 0 && c.Warmup <= maxDuration,
			"--warmup %s: give 0s to %s", c.Warmup, maxDuration),
		require(c.Warmup <= 0 || c.Trace == "", "--warmup: a trace is replayed once: leave out one of the two"),
		require(c.Budget >= 0, "--budget %s: give more than $0.00", c.Budget),
	}
	for _, name := range c.Baselines {
		errs = append(errs, require(slices.Contains(baseline.All, name), "baseline %q: give some of %v", name, baseline.All))
	}
	errs = append(errs, c.Spec.Validate(), c.validateLevels(), c.validateLimits(), c.validateWindows(), c.validateEngine(), c.validatePrefix())
	return exit.With(exit.Usage, errors.Join(errs...))
}

// AutoWarmup is a tenth of the duration, at most 2 s, and none with a trace.
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

// runner returns the configuration of the runners.
func (c Config) runner() runner.Config {
	f := runner.Config{
		Spec: c.Spec, Local: c.Engine == report.EngineLocal, Concurrency: c.Concurrency,
		Warmup: c.warmup(), Tick: metrics.SampleInterval(c.Duration),
		Partitions: c.Partitions, HoldTTL: budget.DefaultHoldTTL, MaxHolds: coordinator.DefaultMaxHolds + c.HoldsBefore,
	}
	if c.HoldsBefore > 0 {
		f.HoldTTL = 2 * maxDuration // they outlive the measurement
	}
	if c.RollEvery > 0 {
		f.RollEvery, f.RollFrom = c.RollEvery, c.rollFrom.UnixMilli()
		f.HoldTTL, f.Tick = budget.MaxHoldTTL, min(f.Tick, maxRollTick)
	}
	return f
}

// warmupOf is the warm-up of one pool, no longer than its share of a round.
func (c Config) warmupOf(pools int) time.Duration {
	if c.Duration == 0 {
		return c.warmup()
	}
	return min(c.warmup(), share(share(c.Duration, c.rounds()), pools))
}

// validateEngine returns the first error of settings that the local engine does not have.
func (c Config) validateEngine() error {
	remote := c.Engine == report.EngineRedis
	unless := func(fits bool, format string, args ...any) error {
		return workload.Require(remote || fits, format+", or give --engine redis", args...)
	}
	return cmp.Or(
		workload.Require(remote || c.Engine == report.EngineLocal,
			"--engine %q: give %s or %s", c.Engine, report.EngineRedis, report.EngineLocal),
		unless(!c.Processes, "--processes: the local engine is in this process; leave it out"),
		unless(c.Redis == "", "--engine local uses no Redis: leave out --redis"),
		unless(c.Nodes == 1, "--engine local is a single node: leave out --nodes %d", c.Nodes),
		unless(c.RollEvery == 0, "--roll-every: windows are those of accounts in Redis; leave it out"),
		unless(c.Partitions == 0, "--partitions are of keys in Redis: leave it out"),
		unless(c.Prefix == "", "--prefix is of keys in Redis: leave it out"),
		workload.Require(remote || len(c.Baselines) == 0,
			"--baselines run on Redis: leave it out, or give --engine redis, with local as a baseline"))
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
