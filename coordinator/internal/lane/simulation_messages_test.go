package lane

import (
	"fmt"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The messages of a simulation between lanes and partitions.

// message is a command in flight.
type message struct {
	name     int
	lane     *simLane
	index    int // of the partition
	args     []string
	executed bool
	reply    any
	err      error
	calls    []simCall // of a batch
	// remaining is each account's after the batch, nil if this was a duplicate. answers are
	// those that the node must give; one without an outcome is not known. crossings are the
	// thresholds that the batch crossed.
	remaining map[store.AccountID]budget.Microcents
	answers   []Answer
	crossings []budget.Crossing
}

// copy returns the command as it was sent.
func (m *message) copy() *message {
	return &message{name: m.name, index: m.index, args: m.args, calls: m.calls}
}

// send sends the lane's next command, if it has one.
func (s *simulation) send(l *simLane) {
	l.ready = false
	args := l.l.Next()
	if args == nil {
		l.l.Answer()
		l.ready = l.l.Continue()
		s.collect(l.node)
		return
	}
	m := s.message(l, l.l.Index(), args)
	if b := l.l.pending; b != nil && s.isBatch(m) {
		m.calls = simCalls(b)
	}
	s.inFlight = append(s.inFlight, m)
	s.logf("%s sends %d: %s", l.node.name, m.name, m)
	if s.random.IntN(2) == 0 {
		l.l.Answer()
	}
	s.collect(l.node)
}

func (s *simulation) message(l *simLane, index int, args []any) *message {
	s.messages++
	return &message{name: s.messages, lane: l, index: index, args: simArgs(args)}
}

func (m *message) String() string {
	if m.script() == "" {
		return fmt.Sprintf("%q", m.args)
	}
	return fmt.Sprintf("%s %.8q %q", m.args[0], m.args[1], m.args[3:])
}

// script returns the source or the SHA of a script call, or "".
func (m *message) script() string {
	if m.args[0] == "eval" || m.args[0] == "evalsha" {
		return m.args[1]
	}
	return ""
}

// argv returns the arguments of a script call after its keys; argv[0] is ARGV[1].
func (m *message) argv() []string { return m.args[3+int(m.args[2][0]-'0'):] }

// isBatch reports whether the message is a numbered batch.
func (s *simulation) isBatch(m *message) bool {
	for _, script := range []*luascripts.Script{&s.scripts.Batch, &s.scripts.BatchLowMemory, &s.scripts.Merge} {
		if text := m.script(); text == script.SHA || text == script.Source {
			return true
		}
	}
	return false
}

func simArgs(args []any) []string {
	texts := make([]string, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			texts[i] = arg
		case *store.Argument:
			texts[i] = string(*arg)
		default:
			texts[i] = fmt.Sprint(arg)
		}
	}
	return texts
}

// execute runs a message at its partition's primary, and then checks the stored state.
func (s *simulation) execute(m *message) (reply any, err error) {
	p := s.partitions[m.index]
	reply, err = s.do(p, m.args)
	s.logf("  at Redis: %.300q %v", reply, err)
	if err != nil && strings.HasPrefix(err.Error(), "ERR") {
		s.failf("%d: %v", m.name, err)
	}
	before := p.ledger
	s.checkPartition(p)
	s.checkExecuted(p, before, m, reply)
	if s.random.IntN(8) == 0 {
		s.auditAtOnce(p)
	}
	if s.mode.failovers {
		p.past = append(p.past, p.store.Clone())
		if len(p.past) > 24 {
			p.past = p.past[1:]
		}
	}
	return reply, err
}

func (s *simulation) do(p *simPartition, args []string) (reply any, err error) {
	s.server.Store, s.server.Seed = p.store, p.server
	if args[1] == store.RecordKey(simPrefix) { // it belongs to no partition
		s.server.Store = s.common
	}
	if s.twin == nil {
		return s.server.Do(args)
	}
	return s.twin.do(s, p, args)
}

func (s *simulation) deliver(m *message) {
	s.logf("%d arrives", m.name)
	m.reply, m.err = s.execute(m)
	m.executed = true
}

// end returns a message to its lane.
func (s *simulation) end(m *message, reply any, err error, f Failure) {
	s.inFlight = slices.DeleteFunc(s.inFlight, func(other *message) bool { return other == m })
	l := m.lane
	if !l.node.alive {
		return
	}
	l.l.Answer()
	s.collect(l.node)
	r := Reply{Value: reply, Err: err, Failure: f, Early: s.random.IntN(2) == 0}
	r.Text, _ = reply.(string)
	if err == nil {
		s.checkAnswers(m, l.l.pending, r.Text)
	}
	l.l.Handle(r)
	l.ready = l.l.Continue()
	s.collect(l.node)
}

func (s *simulation) answer(m *message) {
	s.logf("%d is answered", m.name)
	f := FailureRejected
	switch {
	case m.err == nil:
	case strings.HasPrefix(m.err.Error(), "NOSCRIPT"):
		f = FailureNoScript
	case strings.HasPrefix(m.err.Error(), "OOM"):
		f = FailureOutOfMemory
	}
	s.end(m, m.reply, m.err, f)
}
