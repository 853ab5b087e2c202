package runner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Engine has the calls that workers make. Every budget.Engine is one, and every
// baseline.Store.
type Engine interface {
	TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error)
	Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error)
	Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error)
}

// Config describes a runner.
type Config struct {
	workload.Spec
	Local       bool          // the nodes share a local engine
	Concurrency int           // workers per node
	Warmup      time.Duration // before the first round, not measured
	Tick        time.Duration // between two samples

	// Options of the coordinators:
	Partitions int // 0 is their default
	HoldTTL    time.Duration
	MaxHolds   int           // per tenant
	RollEvery  time.Duration // interval at which their clock skips to the next hour; 0 for Redis' clock
	RollFrom   int64         // start of the first interval, Unix ms by the machine's clock
}

// Clock returns the coordinators' clock: that of the machine, with an hour more after each
// interval of RollEvery. All processes have the same. It begins at a full hour.
func (c Config) Clock() time.Time {
	from := time.UnixMilli(c.RollFrom)
	since := max(time.Since(from), 0)
	return from.UTC().Truncate(time.Hour).Add(since/c.RollEvery*time.Hour + since%c.RollEvery)
}

// Runner has the workers of all nodes, and their results over all rounds.
type Runner struct {
	nodes       []Engine
	processes   *Processes // in place of nodes, if each is a separate process
	concurrency int
	firstWorker int // of this process
	tenants     []budget.TenantID
	timeEvery   uint64        // cycles per measured latency
	finest      time.Duration // resolution of latencies
	arrivals    workload.Arrivals
	holdTime    time.Duration
	warmup      time.Duration // still to be run
	tick        time.Duration
	newTimer    func() (timer, error)

	Ledger    *metrics.Ledger // several runners may share one
	Reserve   *metrics.Histogram
	Commit    *metrics.Histogram
	Counts    metrics.Counts
	Unsent    int64 // requests of an open loop that were due and not sent
	remaining *metrics.LastRemaining

	timeline *metrics.Timeline    // nil unless it is kept
	seconds  *metrics.Seconds     // nil unless budgets renew
	OnSample func(metrics.Sample) // gets each sample, one at a time; or nil
}

// timeEveryLocal is 64 because reading the clock takes about as long as a local decision.
const timeEveryLocal = 64

// New returns a runner on nodes in this process.
func New(nodes []Engine, c Config, tenants []budget.TenantID) *Runner {
	workers := len(nodes) * c.Concurrency
	r := &Runner{
		nodes: nodes, concurrency: c.Concurrency, tenants: tenants, timeEvery: 1, finest: time.Microsecond,
		arrivals: c.Arrivals(), holdTime: c.HoldTime, warmup: c.Warmup, tick: c.Tick, newTimer: newTimer,
		Ledger: metrics.NewLedger(len(tenants), workers), remaining: metrics.NewLastRemaining(len(tenants)),
	}
	if c.Local {
		r.timeEvery, r.finest = timeEveryLocal, time.Nanosecond
	}
	r.Reserve, r.Commit = metrics.NewHistogram(r.finest), metrics.NewHistogram(r.finest)
	return r
}

// NewOfProcesses returns a runner on nodes that are processes.
func NewOfProcesses(processes *Processes, c Config, tenants []budget.TenantID) *Runner {
	r := New(nil, c, tenants)
	r.processes = processes
	return r
}

// Pids returns the ids of the node processes, if there are any.
func (r *Runner) Pids() (pids []int) {
	if r.processes == nil {
		return nil
	}
	for _, p := range r.processes.all {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// KeepTimeline makes the runner collect what Timeline returns.
func (r *Runner) KeepTimeline() { r.timeline = metrics.NewTimeline(r.tick) }

// KeepSeconds makes the runner collect what Seconds returns.
func (r *Runner) KeepSeconds(c Config) {
	r.seconds = metrics.NewSeconds(time.UnixMilli(c.RollFrom), c.RollEvery)
}

// Seconds returns the latencies of each second, or nil.
func (r *Runner) Seconds() *metrics.Seconds { return r.seconds }

// Open reports whether the runner has an open loop.
func (r *Runner) Open() bool { return r.arrivals.Open() }

// WarmUp runs requests that are not measured, no longer than a round (0 is unlimited). All
// but the first call do nothing.
func (r *Runner) WarmUp(ctx context.Context, work workload.Round, limit time.Duration) error {
	warmup := r.warmup
	if r.warmup = 0; limit > 0 {
		warmup = min(warmup, limit)
	}
	if warmup == 0 {
		return nil
	}
	_, err := r.runPhase(ctx, work, warmup, true)
	return err
}

// Run runs one round, until its requests end, the limit (0 is none) has passed, ctx ends,
// or an engine returns an error, which ends the run.
func (r *Runner) Run(ctx context.Context, work workload.Round, limit time.Duration) (RoundStats, error) {
	stats, err := r.runPhase(ctx, work, limit, false)
	if r.timeline != nil {
		r.timeline.EndRound(stats.Took)
	}
	return stats, err
}

func (r *Runner) runPhase(ctx context.Context, work workload.Round, limit time.Duration, warming bool) (RoundStats, error) {
	if r.processes != nil {
		return r.processes.run(ctx, r, work, limit, warming)
	}
	return r.run(ctx, work, limit, warming)
}

// RoundStats is the result of one round.
type RoundStats struct {
	Cycles, Decisions int64
	Took              time.Duration
	Latency           metrics.Latency // of decisions
}

// Rate returns a count of the round per second.
func (s RoundStats) Rate(count int64) float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(count) / s.Took.Seconds()
}

// Decisions returns the latencies of reserves and commits together. The workers must have
// stopped.
func (r *Runner) Decisions() *metrics.Histogram { return metrics.Merged(r.Reserve, r.Commit) }

// Timeline returns the course of the rounds, and the balances of some tenants that ran out.
func (r *Runner) Timeline(budgets []budget.Microcents) ([]metrics.Moment, []metrics.Drain) {
	return r.timeline.Moments(), r.timeline.Drains(r.remaining, r.Ledger, r.tenants, budgets)
}

// NewCoordinator returns a node whose workers may all use one tenant at once. An error has
// an exit code.
func NewCoordinator(ctx context.Context, client redis.UniversalClient, c Config, prefix string, logger *slog.Logger) (*coordinator.Coordinator, error) {
	queue := c.Concurrency + forEachWidth
	options := []coordinator.Option{
		coordinator.WithKeyPrefix(prefix), coordinator.WithLogger(logger), coordinator.WithQueueLimits(queue, queue),
		coordinator.WithHoldTTL(c.HoldTTL), coordinator.WithMaxHolds(c.MaxHolds),
	}
	if c.Partitions != 0 {
		options = append(options, coordinator.WithPartitions(c.Partitions))
	}
	if c.RollEvery != 0 {
		// No end of a hold is forgotten at a skip, which no real boundary does either.
		options = append(options, coordinator.WithClock(c.Clock), coordinator.WithRetention(24*time.Hour, coordinator.DefaultRetentionHolds))
	}
	node, err := coordinator.New(ctx, client, options...)
	return node, exit.OfStart(err)
}

const forEachWidth = 64 // concurrent calls

// ForEach calls do for 0 to count-1, some concurrently, until one fails.
func ForEach(ctx context.Context, count int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for first := range min(forEachWidth, count) {
		all.Go(func() {
			for i := first; i < count && ctx.Err() == nil; i += forEachWidth {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
