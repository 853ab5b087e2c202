package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// StopTimeout is how long nodes have to finish what they do, and to close.
const StopTimeout = time.Minute

// Crew is a fleet's nodes where each is a process of its own.
type Crew struct {
	assignment Assignment
	lifetime   context.Context // of the Redis: after it, nodes are ended
	members    []*member
	budgets    []budget.Microcents
	trips      *contender.Trips
	orders     int
}

// NewCrew has no process yet; it must be closed all the same. What the budgets are of
// is in doubt if a process dies. When the lifetime ends, nodes that are to stop are not
// waited for.
func NewCrew(lifetime context.Context, a Assignment, budgets []budget.Microcents, trips *contender.Trips) *Crew {
	return &Crew{lifetime: lifetime, assignment: a, budgets: budgets, trips: trips}
}

// Muster starts the processes, and returns when all nodes are ready, with the size of
// their pools.
func (w *Crew) Muster(ctx context.Context) (poolSize int, err error) {
	for i := range w.assignment.Nodes {
		a := w.assignment
		a.Node, a.Config.Spec = i, a.Config.ForNode(i, a.Nodes)
		m, err := startMember(a)
		if err != nil {
			return 0, err
		}
		w.members = append(w.members, m)
	}
	defer context.AfterFunc(ctx, w.kill)()
	poolSize, err = w.ready()
	for _, m := range w.members {
		m.missed = err != nil // what one fails at, most do
	}
	return poolSize, err
}

func (w *Crew) ready() (poolSize int, err error) {
	for _, m := range w.members {
		switch said, alive := <-m.words; {
		case !alive:
			return 0, m.gone()
		case said.Failure != nil:
			return 0, m.named(said.Failure.err())
		default:
			poolSize = said.Ready.PoolSize
		}
	}
	return poolSize, nil
}

// crewStint is one in progress.
type crewStint struct {
	*Crew
	fleet *Fleet
	ended <-chan struct{} // the run, from outside

	mu    sync.Mutex
	round Pace
	lost  bool // one of them, with what it had been told
	first error
}

// stint has all play at once, each its share. With a process that ends by itself, what
// it had been told is lost, and the others are stopped.
func (w *Crew) stint(ctx context.Context, f *Fleet, work load.Part, limit time.Duration, warming bool) (Pace, error) {
	inner, cancel := context.WithCancel(ctx)
	if limit > 0 {
		inner, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	w.orders++
	w.tell(order{Number: w.orders, Part: work.Which().Number, Parts: work.Which().Of, Limit: limit, Warming: warming})
	s := &crewStint{Crew: w, fleet: f, ended: ctx.Done()}
	done := make(chan struct{})
	var stopping, playing sync.WaitGroup
	stopping.Go(func() { w.stopAtEnd(inner, done) })
	for _, m := range w.members {
		playing.Go(func() {
			if err := s.follow(m); err != nil {
				s.fail(err)
				cancel()
			}
		})
	}
	playing.Wait()
	close(done)
	stopping.Wait()
	if s.lost {
		f.Ledger.Lose(w.budgets)
	}
	return s.round, s.first
}

// stopAtEnd stops who still plays, and who does not stop is ended.
func (w *Crew) stopAtEnd(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	w.tell(order{Number: w.orders, Stop: true})
	patience := time.NewTimer(StopTimeout)
	defer patience.Stop()
	select {
	case <-done:
	case <-w.lifetime.Done():
		w.kill()
	case <-patience.C:
		w.kill()
	}
}

// follow hears a node out until it has played.
func (s *crewStint) follow(m *member) error {
	for said := range m.words {
		switch {
		case said.Sample != nil:
			s.heard(*said.Sample)
		case said.Played != nil:
			s.include(said.Played)
			err := said.Failure.err()
			if err == nil && said.Played.Interrupted && !s.interrupted() {
				err = exit.With(exit.Unavailable, errors.New("it was interrupted, and this process was not"))
			}
			return m.named(err)
		default:
			return m.named(fmt.Errorf("it says %+v while it plays", said))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	return m.gone()
}

// interrupted: a Ctrl-C on a terminal reaches the nodes as well, perhaps before it has
// reached this process, which a busy machine may take long to let run.
func (s *crewStint) interrupted() bool {
	const while = 5 * time.Second
	select {
	case <-s.ended:
		return true
	case <-time.After(while):
		return false
	}
}

func (s *crewStint) heard(now record.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fleet.sampled(now)
}

func (s *crewStint) include(p *played) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round.Cycles += p.Cycles
	s.round.Decisions += p.Decisions
	s.round.Took = max(s.round.Took, p.Took)
	s.trips.Add(p.Trips)
	s.fleet.include(p)
}

// fail keeps the first: the others are its consequence.
func (s *crewStint) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = err
	}
}

func (w *Crew) tell(o order) {
	for _, m := range w.members {
		m.say(o)
	}
}

func (w *Crew) kill() {
	for _, m := range w.members {
		m.kill()
	}
}

// Close lets all nodes close what they have in Redis, and returns when their processes
// have ended; who takes longer than ctx is ended.
func (w *Crew) Close(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.kill)()
	errs := make([]error, len(w.members))
	var all sync.WaitGroup
	for i, m := range w.members {
		all.Go(func() { errs[i] = m.leave() })
	}
	all.Wait()
	return errors.Join(errs...)
}
