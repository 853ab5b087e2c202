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

// Engine is what workers ask; every budget.Engine is one.
type Engine interface {
	TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error)
	Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error)
	Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error)
}

// Config says what a runner is.
type Config struct {
	workload.Spec
	Local       bool          // the nodes are of the local engine
	Concurrency int           // workers a node
	Warmup      time.Duration // before the first round, not measured
	Tick        time.Duration // between two samples

	// Of the coordinators:
	Partitions int // 0 is their default
	HoldTTL    time.Duration
	MaxHolds   int // of a tenant
}

// Runner is all workers of all nodes, and what they were told over all rounds.
type Runner struct {
	nodes       []Engine
	processes   *Processes // instead of nodes, where each is a process of its own
	concurrency int
	firstWorker int // of this process, where each node has one of its own
	tenants     []budget.TenantID
	timeEvery   uint64        // of so many cycles, the latency of one is measured
	finest      time.Duration // that a latency can be
	schedule    workload.Arrivals
	holdTime    time.Duration
	warmup      time.Duration // that is still to be played
	tick        time.Duration // between two samples
	newTimer    func() (timer, error)

	Ledger    *metrics.Ledger // several fleets may have one
	Reserve   *metrics.Latencies
	Commit    *metrics.Latencies
	Counts    metrics.Counts
	Unsent    int64 // requests of an open loop that the end came before
	remaining *metrics.LastRemaining

	timeline *metrics.Timeline    // nil where none is kept
	watched  func(metrics.Sample) // nil where nobody watches
}

// timeEveryLocal: reading the clock takes about as long as a local decision.
const timeEveryLocal = 64

// New has workers on nodes of this process.
func New(nodes []Engine, c Config, tenants []budget.TenantID) *Runner {
	workers := len(nodes) * c.Concurrency
	f := &Runner{
		nodes: nodes, concurrency: c.Concurrency, tenants: tenants, timeEvery: 1, finest: time.Microsecond,
		schedule: c.Arrivals(), holdTime: c.HoldTime, warmup: c.Warmup, tick: c.Tick, newTimer: newTimer,
		Ledger: metrics.NewLedger(len(tenants), workers), remaining: metrics.NewLastRemaining(len(tenants)),
	}
	if c.Local {
		f.timeEvery, f.finest = timeEveryLocal, time.Nanosecond
	}
	f.Reserve, f.Commit = metrics.NewLatencies(workers, f.finest), metrics.NewLatencies(workers, f.finest)
	return f
}

// NewOfProcesses has all workers on the nodes of a processes.
func NewOfProcesses(processes *Processes, c Config, tenants []budget.TenantID) *Runner {
	f := New(nil, c, tenants)
	f.processes = processes
	return f
}

// Pids are the ids of its nodes' processes, if they have any.
func (f *Runner) Pids() []int {
	if f.processes == nil {
		return nil
	}
	pids := make([]int, len(f.processes.members))
	for i, m := range f.processes.members {
		pids[i] = m.cmd.Process.Pid
	}
	return pids
}

// KeepStory has it keep what Story returns.
func (f *Runner) KeepStory() { f.timeline = metrics.NewTimeline(f.tick) }

// Watch hands each sample on, one at a time.
func (f *Runner) Watch(tell func(metrics.Sample)) { f.watched = tell }

// Open says whether it plays an open loop.
func (f *Runner) Open() bool { return f.schedule.Open() }

// WarmUp plays what is not measured, no longer than a round (0 is no limit), and only the
// first time that it is called.
func (f *Runner) WarmUp(ctx context.Context, work workload.Round, limit time.Duration) error {
	warmup := f.warmup
	if f.warmup = 0; limit > 0 {
		warmup = min(warmup, limit)
	}
	if warmup == 0 {
		return nil
	}
	_, err := f.stretch(ctx, work, warmup, true)
	return err
}

// Play runs one round: until the part is played, the limit (0 is none) has passed,
// ctx has ended, or an engine gave no answer, which is the error.
func (f *Runner) Play(ctx context.Context, work workload.Round, limit time.Duration) (RoundStats, error) {
	round, err := f.stretch(ctx, work, limit, false)
	if f.timeline != nil {
		f.timeline.EndRound(round.Took)
	}
	return round, err
}

func (f *Runner) stretch(ctx context.Context, work workload.Round, limit time.Duration, warming bool) (RoundStats, error) {
	if f.processes != nil {
		return f.processes.phase(ctx, f, work, limit, warming)
	}
	return f.phase(ctx, work, limit, warming)
}

// RoundStats is what one round came to.
type RoundStats struct {
	Cycles, Decisions int64
	Took              time.Duration
}

// Rate is a count of the round, a second.
func (p RoundStats) Rate(count int64) float64 {
	if p.Took <= 0 {
		return 0
	}
	return float64(count) / p.Took.Seconds()
}

// Decisions are the latencies of reserves and commits together. The workers must have
// stopped.
func (f *Runner) Decisions() *metrics.Histogram {
	both := metrics.NewHistogram(f.finest)
	both.Merge(f.Reserve.All())
	both.Merge(f.Commit.All())
	return both
}

// Story is, where it is kept, how the rounds went, moment by moment, and how the budgets went of some
// tenants that ran out.
func (f *Runner) Story(budgets []budget.Microcents) ([]metrics.Moment, []metrics.Drain) {
	return f.timeline.Report(), f.timeline.Drains(f.remaining, f.Ledger, f.tenants, budgets)
}

// NewCoordinator is a node of a runner, whose workers may all ask for the same tenant at
// once. An error has an exit code.
func NewCoordinator(ctx context.Context, client redis.UniversalClient, c Config, prefix string, logger *slog.Logger) (*coordinator.Coordinator, error) {
	queue := c.Concurrency + eachWidth
	options := []coordinator.Option{
		coordinator.WithKeyPrefix(prefix), coordinator.WithLogger(logger), coordinator.WithQueueLimits(queue, queue),
		coordinator.WithHoldTTL(c.HoldTTL), coordinator.WithMaxHolds(c.MaxHolds),
	}
	if c.Partitions != 0 {
		options = append(options, coordinator.WithPartitions(c.Partitions))
	}
	node, err := coordinator.New(ctx, client, options...)
	return node, exit.OfStart(err)
}

// eachWidth is how many tenants are asked for at once.
const eachWidth = 64

// ForEach calls do for 0 to count-1, some at a time, until one fails.
func ForEach(ctx context.Context, count int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for first := range min(eachWidth, count) {
		all.Go(func() {
			for i := first; i < count && ctx.Err() == nil; i += eachWidth {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
