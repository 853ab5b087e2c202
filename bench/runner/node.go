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

// node is this program as one node of a runner of processes.
type node struct {
	NodeConfig
	work   workload.Workload
	engine *coordinator.Coordinator
	trips  *baseline.RoundTrips

	mu     sync.Mutex // of what is written, and of what follows
	output *json.Encoder
	broken error // of the output: nobody listens any more

	playing int // the number of the command
	stopped int // the highest that is to end, or not to begin
	cancel  context.CancelFunc
}

// ServeNode plays what it is told to, until the input ends. What fails is said to the
// run, and is no error here. When ctx ends, what is played is cut short.
func ServeNode(ctx context.Context, input io.Reader, output io.Writer) error {
	n := &node{trips: new(baseline.RoundTrips), output: json.NewEncoder(output)}
	orders := json.NewDecoder(input)
	if err := orders.Decode(&n.NodeConfig); err != nil {
		return exit.With(exit.Usage, fmt.Errorf("%s is started by bench --processes only: %w", NodeCommand, err))
	}
	failed := n.serve(ctx, orders)
	return n.say(message{Closed: true, Failure: failureOf(failed)})
}

func (n *node) serve(ctx context.Context, orders *json.Decoder) error {
	space, err := scratch.Open(ctx, n.Redis, n.Secrets)
	if err != nil {
		return err
	}
	pool, err := n.open(ctx, space)
	if err == nil && n.say(message{Ready: &ready{pool}}) == nil {
		watched, end := Watchdog(ctx, space, func() []*coordinator.Coordinator {
			return []*coordinator.Coordinator{n.engine}
		})
		for o := range n.listen(orders) {
			n.play(watched, o)
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

// open makes the node, and acquaints it with every tenant.
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

// listen hands out what is to be played; it keeps for itself to stop, which the end of
// the input is as well.
func (n *node) listen(input *json.Decoder) <-chan command {
	orders := make(chan command)
	go func() {
		defer close(orders)
		for {
			var o command
			if input.Decode(&o) != nil {
				n.stop(math.MaxInt)
				return
			}
			if o.Stop {
				n.stop(o.Number)
			} else {
				orders <- o
			}
		}
	}()
	return orders
}

// stop ends what is played, up to a number, or keeps it from beginning.
func (n *node) stop(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = number
	if n.cancel != nil && n.playing <= number {
		n.cancel()
	}
}

func (n *node) play(ctx context.Context, o command) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	n.playing, n.cancel = o.Number, cancel
	if n.stopped >= o.Number {
		cancel()
	}
	n.mu.Unlock()
	f := n.runner(n.engine)
	f.watched = func(s metrics.Sample) {
		if n.say(message{Sample: &s}) != nil {
			cancel()
		}
	}
	trips := n.trips.Load()
	round, failed := f.phase(inner, n.work.Round(o.Part, o.Parts), o.Limit, o.Warming)
	p := f.played(round)
	p.Trips, p.Interrupted = n.trips.Load()-trips, ctx.Err() != nil
	_ = n.say(message{Played: p, Failure: failureOf(failed)}) // where nobody listens, the input ends as well
}

// runner is this node's part of the whole: its workers are asked for what they would be
// in a single process.
func (n *node) runner(engine Engine) *Runner {
	f := New([]Engine{engine}, n.Config, n.Tenants)
	f.schedule = f.schedule.Share(n.Node, n.Nodes)
	f.firstWorker = n.Node * n.Config.Concurrency
	return f
}

func (n *node) say(w message) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken == nil {
		n.broken = n.output.Encode(w)
	}
	return n.broken
}
