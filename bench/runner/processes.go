package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// StopTimeout is how long nodes have to finish what they do, and to close.
const StopTimeout = time.Minute

// Processes is a runner's nodes where each is a process of its own.
type Processes struct {
	assignment NodeConfig
	lifetime   context.Context // of the Redis: after it, nodes are ended
	members    []*process
	budgets    []budget.Microcents
	trips      *baseline.RoundTrips
	orders     int
}

// NewProcesses has no process yet; it must be closed all the same. What the budgets are of
// is in doubt if a process dies. When the lifetime ends, nodes that are to stop are not
// waited for.
func NewProcesses(lifetime context.Context, a NodeConfig, budgets []budget.Microcents, trips *baseline.RoundTrips) *Processes {
	return &Processes{lifetime: lifetime, assignment: a, budgets: budgets, trips: trips}
}

// Start starts the processes, and returns when all nodes are ready, with the size of
// their pools.
func (w *Processes) Start(ctx context.Context) (poolSize int, err error) {
	for i := range w.assignment.Nodes {
		a := w.assignment
		a.Node, a.Config.Spec = i, a.Config.ForNode(i, a.Nodes)
		m, err := startProcess(a)
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

func (w *Processes) ready() (poolSize int, err error) {
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

// processPhase is one in progress.
type processPhase struct {
	*Processes
	runner *Runner
	ended  <-chan struct{} // the run, from outside

	mu    sync.Mutex
	round RoundStats
	lost  bool // one of them, with what it had been told
	first error
}

// phase has all play at once, each its share. With a process that ends by itself, what
// it had been told is lost, and the others are stopped.
func (w *Processes) phase(ctx context.Context, f *Runner, work workload.Round, limit time.Duration, warming bool) (RoundStats, error) {
	inner, cancel := context.WithCancel(ctx)
	if limit > 0 {
		inner, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	w.orders++
	w.tell(command{Number: w.orders, Part: work.Which().Number, Parts: work.Which().Of, Limit: limit, Warming: warming})
	s := &processPhase{Processes: w, runner: f, ended: ctx.Done()}
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
func (w *Processes) stopAtEnd(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	w.tell(command{Number: w.orders, Stop: true})
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
func (s *processPhase) follow(m *process) error {
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
func (s *processPhase) interrupted() bool {
	const while = 5 * time.Second
	select {
	case <-s.ended:
		return true
	case <-time.After(while):
		return false
	}
}

func (s *processPhase) heard(now metrics.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runner.sampled(now)
}

func (s *processPhase) include(p *played) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round.Cycles += p.Cycles
	s.round.Decisions += p.Decisions
	s.round.Took = max(s.round.Took, p.Took)
	s.trips.Add(p.Trips)
	s.runner.include(p)
}

// fail keeps the first: the others are its consequence.
func (s *processPhase) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = err
	}
}

func (w *Processes) tell(o command) {
	for _, m := range w.members {
		m.say(o)
	}
}

func (w *Processes) kill() {
	for _, m := range w.members {
		m.kill()
	}
}

// Close lets all nodes close what they have in Redis, and returns when their processes
// have ended; who takes longer than ctx is ended.
func (w *Processes) Close(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.kill)()
	errs := make([]error, len(w.members))
	var all sync.WaitGroup
	for i, m := range w.members {
		all.Go(func() { errs[i] = m.leave() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// NodeCommand is what, after "bench", makes this program a node.
const NodeCommand = "node"

// process is a node that is a process of its own.
type process struct {
	number int // from 1, for people
	cmd    *exec.Cmd
	words  chan message // closed when the process has ended
	ended  error        // how; to be read once words is closed
	missed bool         // what it failed at was told

	mu     sync.Mutex // of what is written
	orders *json.Encoder
	input  io.WriteCloser
}

// startProcess starts a process, and tells it what it must know.
func startProcess(a NodeConfig) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it as a node: %w", err)
	}
	m := &process{number: a.Node + 1, cmd: exec.Command(program, "bench", NodeCommand), words: make(chan message)} //nolint:gosec // it is this program
	m.cmd.Stderr = os.Stderr                                                                                       // nothing is written there, unless it crashes
	m.cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return variable == "OTEL_METRICS_EXPORTER=prometheus" // its port is this process'
	})
	if m.input, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting node %d: %w", m.number, err)
	}
	go m.listen(output)
	m.orders = json.NewEncoder(m.input)
	m.say(a)
	return m, nil
}

func (m *process) listen(output io.Reader) {
	defer close(m.words)
	decoder := json.NewDecoder(output)
	var unreadable error
	for {
		var w message
		if unreadable = decoder.Decode(&w); unreadable != nil {
			break
		}
		m.words <- w
	}
	_, _ = io.Copy(io.Discard, output) // what is no JSON must not keep it from ending
	m.ended = m.cmd.Wait()
	if m.ended == nil && !errors.Is(unreadable, io.EOF) {
		m.ended = unreadable
	}
}

// say leaves it to listen to notice that a process has ended.
func (m *process) say(what any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.orders.Encode(what)
}

// gone is the error of a process that ended by itself.
func (m *process) gone() error {
	m.missed = true
	how := "without a message"
	if m.ended != nil {
		how = m.ended.Error()
	}
	return exit.With(exit.Unavailable, fmt.Errorf("node %d (process %d) has ended: %s", m.number, m.cmd.Process.Pid, how))
}

// named says which node's an error is.
func (m *process) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("node %d: %w", m.number, err)
}

func (m *process) kill() { _ = m.cmd.Process.Kill() }

// leave lets the process go, and returns when it has ended.
func (m *process) leave() error {
	m.mu.Lock()
	_ = m.input.Close() // of a process that has ended it is closed
	m.mu.Unlock()
	var closed bool
	var failed error
	for w := range m.words {
		closed = closed || w.Closed
		if w.Failure != nil {
			failed = m.named(w.Failure.err())
		}
	}
	switch {
	case m.missed:
		return nil
	case failed == nil && !closed:
		return m.gone()
	default:
		return failed
	}
}

// What a run and a node that is a process of its own say to each other: cells of JSON on
// the node's standard input and output, first an assignment. Secrets travel here, never in
// arguments, which everybody on the machine can read.

// NodeConfig is what a node must know.
type NodeConfig struct {
	Config   Config
	Redis    string          // as scratch.Open takes it; all nodes have it
	Secrets  connect.Secrets // the same
	Prefix   string
	Tenants  []budget.TenantID
	PoolSize int // 0 is go-redis' own
	Nodes    int
	Node     int // from 0; a processes sets it
}

// command is to play, or to stop playing. The end of the input is to close the node and
// to go.
type command struct {
	Number  int  // a stop has the number of what it stops
	Stop    bool `json:",omitempty"`
	Part    int
	Parts   int
	Limit   time.Duration
	Warming bool
}

// message is what a node says: that it is ready, what it sees while it plays, what it
// played, and that it has closed; or the failure of any of these.
type message struct {
	Ready   *ready          `json:",omitempty"`
	Sample  *metrics.Sample `json:",omitempty"`
	Played  *played         `json:",omitempty"`
	Closed  bool            `json:",omitempty"`
	Failure *failure        `json:",omitempty"`
}

type ready struct {
	PoolSize int
}

// played is what a phase came to.
type played struct {
	Cycles, Decisions, Unsent, Trips int64
	Took                             time.Duration
	Counts                           metrics.Counts
	Told                             map[int]metrics.Totals // by the number of the tenant
	Reserve, Commit                  *metrics.Histogram
	Interrupted                      bool // from outside
}

// failure is an error with its exit code.
type failure struct {
	Text string
	Code int
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	return &failure{err.Error(), exit.Code(err)}
}

func (f *failure) err() error {
	if f == nil {
		return nil
	}
	return exit.With(f.Code, errors.New(f.Text))
}

// played is what a runner has come to in its only phase.
func (f *Runner) played(round RoundStats) *played {
	p := &played{
		Cycles: round.Cycles, Decisions: round.Decisions, Took: round.Took,
		Unsent: f.Unsent, Counts: f.Counts, Told: make(map[int]metrics.Totals), Reserve: f.Reserve.All(), Commit: f.Commit.All(),
	}
	for tenant := range f.tenants {
		if t := f.Ledger.Totals(tenant); t != (metrics.Totals{}) {
			p.Told[tenant] = t
		}
	}
	return p
}

// include adds what another process was told. One at a time.
func (f *Runner) include(p *played) {
	f.Unsent += p.Unsent
	f.Counts.Add(&p.Counts)
	for tenant, t := range p.Told {
		f.Ledger.Add(tenant, t)
	}
	f.Reserve.Add(p.Reserve)
	f.Commit.Add(p.Commit)
}
