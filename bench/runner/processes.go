package runner

import (
	"cmp"
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

// A run and its node processes exchange lines of JSON over the node's standard input and
// output: first a NodeConfig, then commands, and messages in return. Secrets travel here,
// because every user of the machine can read a process's arguments.

// NodeConfig is the configuration of a node process.
type NodeConfig struct {
	Config   Config
	Redis    string // as scratch.Open takes it
	Secrets  connect.Secrets
	Prefix   string
	Tenants  []budget.TenantID
	PoolSize int // 0 is go-redis' default
	Nodes    int
	Node     int // from 0; set by Processes
}

// command starts a phase or stops it. At the end of its input a node closes.
type command struct {
	Number  int  // of the phase
	Stop    bool `json:",omitempty"`
	Round   int
	Rounds  int
	Limit   time.Duration
	Warming bool
}

// message is sent by a node: when it is ready, for each sample, at the end of a phase,
// when it has closed, or with the failure of any of these.
type message struct {
	PoolSize int             `json:",omitempty"` // of a node that is ready
	Sample   *metrics.Sample `json:",omitempty"`
	Result   *phaseResult    `json:",omitempty"`
	Closed   bool            `json:",omitempty"`
	Failure  *failure        `json:",omitempty"`
}

// phaseResult is a node's part of a phase.
type phaseResult struct {
	Cycles, Decisions, Unsent, Trips int64
	Took                             time.Duration
	Counts                           metrics.Counts
	Totals                           map[int]metrics.Totals // by tenant number
	Reserve, Commit                  *metrics.Histogram
	Interrupted                      bool // by a signal
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

// result returns the results of a runner after its only phase.
func (r *Runner) result(stats RoundStats) *phaseResult {
	p := &phaseResult{
		Cycles: stats.Cycles, Decisions: stats.Decisions, Took: stats.Took,
		Unsent: r.Unsent, Counts: r.Counts, Totals: make(map[int]metrics.Totals), Reserve: r.Reserve, Commit: r.Commit,
	}
	for tenant := range r.tenants {
		if t := r.Ledger.Totals(tenant); t != (metrics.Totals{}) {
			p.Totals[tenant] = t
		}
	}
	return p
}

// add adds the results of a node process.
func (r *Runner) add(p *phaseResult) {
	r.Unsent += p.Unsent
	r.Counts.Add(&p.Counts)
	for tenant, t := range p.Totals {
		r.Ledger.Add(tenant, t)
	}
	r.Reserve.Merge(p.Reserve)
	r.Commit.Merge(p.Commit)
}

// StopTimeout bounds the time that nodes take to end their calls and to close.
const StopTimeout = time.Minute

// Processes are the nodes of a runner, each a separate process.
type Processes struct {
	config   NodeConfig
	lifetime context.Context // of the Redis, after which nodes are killed
	all      []*process
	budgets  []budget.Microcents
	trips    *baseline.RoundTrips
	phases   int
}

// NewProcesses starts nothing yet, but must be closed. The budgets are in doubt if a
// process dies. After the end of lifetime, stopping nodes are killed at once.
func NewProcesses(lifetime context.Context, c NodeConfig, budgets []budget.Microcents, trips *baseline.RoundTrips) *Processes {
	return &Processes{lifetime: lifetime, config: c, budgets: budgets, trips: trips}
}

// Start starts the processes and returns when all nodes are ready, with their pool size.
func (ps *Processes) Start(ctx context.Context) (poolSize int, err error) {
	for i := range ps.config.Nodes {
		c := ps.config
		c.Node, c.Config.Spec = i, c.Config.ForNode(i, c.Nodes)
		p, err := startProcess(c)
		if err != nil {
			return 0, err
		}
		ps.all = append(ps.all, p)
	}
	defer context.AfterFunc(ctx, ps.kill)()
	poolSize, err = ps.ready()
	for _, p := range ps.all {
		p.reported = err != nil // usually all fail for one reason
	}
	return poolSize, err
}

func (ps *Processes) ready() (poolSize int, err error) {
	for _, p := range ps.all {
		switch m, alive := <-p.messages; {
		case !alive:
			return 0, p.died()
		case m.Failure != nil:
			return 0, p.named(m.Failure.err())
		default:
			poolSize = m.PoolSize
		}
	}
	return poolSize, nil
}

// event is a message of a node during a phase, or its end.
type event struct {
	*process
	message
	ended bool // unexpectedly, so that its results are lost
}

// run runs a phase on all nodes. If one fails the others are stopped.
func (ps *Processes) run(ctx context.Context, r *Runner, work workload.Round, limit time.Duration, warming bool) (RoundStats, error) {
	inner, cancel := context.WithCancel(ctx)
	if limit > 0 {
		inner, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	ps.phases++
	ps.send(command{Number: ps.phases, Round: work.Which().Number, Rounds: work.Which().Of, Limit: limit, Warming: warming})
	events := make(chan event)
	for _, p := range ps.all {
		go p.follow(events)
	}
	var failure error // the first, which causes the others
	lost := false
	stats, latency := RoundStats{}, metrics.NewHistogram(r.finest)
	toStop, toKill := inner.Done(), (<-chan struct{})(nil)
	for running := len(ps.all); running > 0; {
		select {
		case e := <-events:
			if e.Sample != nil {
				r.sampled(*e.Sample)
				continue
			}
			running--
			lost = lost || e.ended
			if e.Result != nil {
				ps.add(e.Result, r, &stats, latency)
			}
			if err := e.failure(ctx); err != nil {
				failure = cmp.Or(failure, err)
				cancel()
			}
		case <-toStop:
			ps.send(command{Number: ps.phases, Stop: true})
			stopping, cancel := context.WithTimeout(ps.lifetime, StopTimeout)
			defer cancel()
			toStop, toKill = nil, stopping.Done()
		case <-toKill:
			toKill = nil
			ps.kill()
		}
	}
	if lost {
		r.Ledger.Lose(ps.budgets)
	}
	stats.Latency = latency.Latency()
	return stats, failure
}

// follow passes on the messages of a node until the end of its phase.
func (p *process) follow(events chan<- event) {
	for m := range p.messages {
		events <- event{process: p, message: m}
		if m.Sample == nil {
			return
		}
	}
	events <- event{process: p, ended: true}
}

// add adds the results of a node.
func (ps *Processes) add(p *phaseResult, r *Runner, stats *RoundStats, latency *metrics.Histogram) {
	stats.Cycles += p.Cycles
	stats.Decisions += p.Decisions
	stats.Took = max(stats.Took, p.Took)
	latency.Merge(p.Reserve)
	latency.Merge(p.Commit)
	ps.trips.Add(p.Trips)
	r.add(p)
}

// failure returns the error of a node at the end of its phase.
func (e event) failure(run context.Context) error {
	switch {
	case e.ended:
		return e.died()
	case e.Result == nil:
		return e.named(fmt.Errorf("unexpected message %+v during a phase", e.message))
	case e.Failure == nil && e.Result.Interrupted && !interrupted(run):
		return e.named(exit.With(exit.Unavailable, errors.New("an interrupt reached it and not this process: run again")))
	default:
		return e.named(e.Failure.err())
	}
}

// interrupted reports whether the run was interrupted, too: Ctrl-C on a terminal reaches
// all processes, and on a busy machine this one perhaps last.
func interrupted(run context.Context) bool {
	const patience = 5 * time.Second
	select {
	case <-run.Done():
		return true
	case <-time.After(patience):
		return false
	}
}

func (ps *Processes) send(c command) {
	for _, p := range ps.all {
		p.send(c)
	}
}

func (ps *Processes) kill() {
	for _, p := range ps.all {
		p.kill()
	}
}

// Close lets all nodes close and returns when their processes have ended. At the end of
// ctx it kills them.
func (ps *Processes) Close(ctx context.Context) error {
	defer context.AfterFunc(ctx, ps.kill)()
	errs := make([]error, len(ps.all))
	var all sync.WaitGroup
	for i, p := range ps.all {
		all.Go(func() { errs[i] = p.close() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// NodeCommand is the word after "bench" that makes this program a node.
const NodeCommand = "node"

// process is one node process.
type process struct {
	number   int // from 1, for people
	cmd      *exec.Cmd
	messages chan message // closed when the process has ended
	exited   error        // to be read once messages is closed
	reported bool         // whether its failure was returned

	mu       sync.Mutex // of input
	commands *json.Encoder
	input    io.WriteCloser
}

func startProcess(c NodeConfig) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it as a node: %w", err)
	}
	p := &process{number: c.Node + 1, cmd: exec.Command(program, "bench", NodeCommand), messages: make(chan message)} //nolint:gosec // it is this program
	p.cmd.Stderr = os.Stderr                                                                                          // empty, unless it crashes
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return variable == "OTEL_METRICS_EXPORTER=prometheus" // this process uses the port
	})
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting node %d: %w", p.number, err)
	}
	go p.receive(output)
	p.commands = json.NewEncoder(p.input)
	p.send(c)
	return p, nil
}

func (p *process) receive(output io.Reader) {
	defer close(p.messages)
	decoder := json.NewDecoder(output)
	var unreadable error
	for {
		var m message
		if unreadable = decoder.Decode(&m); unreadable != nil {
			break
		}
		p.messages <- m
	}
	_, _ = io.Copy(io.Discard, output) // so that it can end
	p.exited = p.cmd.Wait()
	if p.exited == nil && !errors.Is(unreadable, io.EOF) {
		p.exited = unreadable
	}
}

// send ignores errors: receive notices the end of a process.
func (p *process) send(what any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.commands.Encode(what)
}

// died returns the error of a process that ended unexpectedly.
func (p *process) died() error {
	p.reported = true
	how := "unexpectedly, without an error"
	if p.exited != nil {
		how = p.exited.Error()
	}
	return exit.With(exit.Unavailable, fmt.Errorf("node %d (process %d) has ended: %s", p.number, p.cmd.Process.Pid, how))
}

func (p *process) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("node %d: %w", p.number, err)
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// close ends the process's input and returns when it has ended.
func (p *process) close() error {
	p.mu.Lock()
	_ = p.input.Close() // closed already if the process has ended
	p.mu.Unlock()
	var closed bool
	var failed error
	for m := range p.messages {
		closed = closed || m.Closed
		if m.Failure != nil {
			failed = p.named(m.Failure.err())
		}
	}
	switch {
	case p.reported:
		return nil
	case failed == nil && !closed:
		return p.died()
	default:
		return failed
	}
}
