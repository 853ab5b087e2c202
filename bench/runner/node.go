package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

// node is this program as a node process.
type node struct {
	NodeConfig
	work   workload.Workload
	engine *coordinator.Coordinator
	trips  *baseline.RoundTrips

	mu      sync.Mutex // of all below
	output  *json.Encoder
	broken  error // of the output, when the run no longer reads it
	running int   // number of the phase
	stopped int   // highest number of a stopped phase, which may be yet to begin
	cancel  context.CancelFunc
}

// ServeNode runs phases by command until the input ends. A failure is sent to the run, and
// not returned. When ctx ends, the phase in progress is cut short.
func ServeNode(ctx context.Context, input io.Reader, output io.Writer) error {
	n := &node{trips: new(baseline.RoundTrips), output: json.NewEncoder(output)}
	commands := json.NewDecoder(input)
	if err := commands.Decode(&n.NodeConfig); err != nil {
		return exit.With(exit.Usage, fmt.Errorf("%s is started by bench --processes only: %w", NodeCommand, err))
	}
	failed := n.serve(ctx, commands)
	return n.send(message{Closed: true, Failure: failureOf(failed)})
}

func (n *node) serve(ctx context.Context, commands *json.Decoder) error {
	space, err := scratch.Open(ctx, n.Redis, n.Secrets)
	if err != nil {
		return err
	}
	pool, err := n.open(ctx, space)
	if err == nil && n.send(message{PoolSize: pool}) == nil {
		watched, end := Watchdog(ctx, space, func() []*coordinator.Coordinator {
			return []*coordinator.Coordinator{n.engine}
		})
		for c := range n.receive(commands) {
			n.runPhase(watched, c)
		}
		_ = end() // the run finds the same
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
	defer cancel()
	if n.engine != nil {
		err = errors.Join(err, exit.With(exit.Unavailable, n.engine.Close(ctx)))
	}
	return errors.Join(err, space.Close(ctx))
}

// open makes the coordinator and uses each tenant once.
func (n *node) open(ctx context.Context, space *scratch.Space) (pool int, err error) {
	if n.work, err = workload.Share(n.Config.Spec, n.Node, n.Nodes); err != nil {
		return 0, err
	}
	client := space.ClientOf(n.PoolSize)
	client.AddHook(n.trips)
	if n.engine, err = NewCoordinator(ctx, client, n.Config, n.Prefix, slog.New(slog.DiscardHandler)); err != nil {
		return 0, err
	}
	err = ForEach(ctx, len(n.Tenants), func(i int) error {
		known, err := n.engine.Remaining(ctx, n.Tenants[i])
		if err == nil && known.Outcome != budget.Found {
			err = fmt.Errorf("tenant %q: the answer is %s", n.Tenants[i], known.Outcome)
		}
		return exit.With(exit.Unavailable, err)
	})
	return scratch.PoolSize(client), err
}

// receive returns the commands that start a phase, and carries out those that stop one. The
// end of the input stops every phase.
func (n *node) receive(input *json.Decoder) <-chan command {
	starts := make(chan command)
	go func() {
		defer close(starts)
		for {
			var c command
			if input.Decode(&c) != nil {
				n.stop(math.MaxInt)
				return
			}
			if c.Stop {
				n.stop(c.Number)
			} else {
				starts <- c
			}
		}
	}()
	return starts
}

// stop ends the phases up to a number, or keeps them from beginning.
func (n *node) stop(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = number
	if n.cancel != nil && n.running <= number {
		n.cancel()
	}
}

func (n *node) runPhase(ctx context.Context, c command) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	n.running, n.cancel = c.Number, cancel
	if n.stopped >= c.Number {
		cancel()
	}
	n.mu.Unlock()
	r := n.runner(n.engine)
	r.OnSample = func(s metrics.Sample) {
		if n.send(message{Sample: &s}) != nil {
			cancel()
		}
	}
	trips := n.trips.Load()
	stats, failed := r.run(inner, n.work.Round(c.Round, c.Rounds), c.Limit, c.Warming)
	p := r.result(stats)
	p.Trips, p.Interrupted = n.trips.Load()-trips, ctx.Err() != nil
	_ = n.send(message{Result: p, Failure: failureOf(failed)}) // if it fails, the input ends as well
}

// runner returns this node's part of the whole: its workers get the requests that they
// would get in a single process.
func (n *node) runner(engine Engine) *Runner {
	r := New([]Engine{engine}, n.Config, n.Tenants)
	r.arrivals = r.arrivals.Share(n.Node, n.Nodes)
	r.firstWorker = n.Node * n.Config.Concurrency
	return r
}

func (n *node) send(m message) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken == nil {
		n.broken = n.output.Encode(m)
	}
	return n.broken
}
