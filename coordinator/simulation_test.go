package coordinator

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/simredis"
	"github.com/calybris/bursar/luascripts"
)

// A simulation runs the coordinator's own lanes against the shipped Lua. Nothing
// in it happens by itself: its one stepper picks what happens next, by one source
// of chance, and owns the clock. So a seed gives one schedule, step by step, and
// its log is the same byte for byte.
type simulation struct {
	seed    uint64
	mode    simMode
	random  *rand.Rand
	server  *simredis.Server
	scripts luascripts.Set
	twin    *realTwin        // nil where no real Redis stands by
	said    *strings.Builder // nil where nobody reads it
	wrong   []string

	nodes    []*simNode
	inFlight []*message
	late     []*message // may reach a server yet, though nobody waits for them
	ops      []*simOp
	holds    []*simHold // that callers were told of
	adjusts  int        // grants and withdrawals so far

	past    []*simredis.Store // what a replica may have
	stray   *simredis.Store   // of the server that was primary before
	named   int               // messages so far
	holdTTL time.Duration
	retains int // of how many holds Redis remembers how they ended
}

// simMode is what may happen in a schedule.
type simMode struct {
	failovers bool // Redis loses writes
	// quick: a replica is promoted while late duplicates are still valid. Then a
	// batch can take effect at the replica that came to something else before.
	quick bool
}

var simModes = map[string]simMode{"steady": {}, "failovers": {failovers: true}, "quick failovers": {failovers: true, quick: true}}

// simNode is one node of the fleet.
type simNode struct {
	name  string
	c     *Coordinator
	lanes []*simLane
	alive bool
}

// simLane is a lane and what its shard would know of it.
type simLane struct {
	node    *simNode
	l       *lane
	ready   bool
	waiting *message
}

// message is a command on its way.
type message struct {
	name     int
	lane     *simLane
	args     []string
	executed bool
	reply    any
	err      error
}

// simFamilies are the families; amounts of the second need all 64 bits.
var simFamilies = []budget.TenantID{"acme", "globex"}

var simTenants = []budget.TenantID{"acme", "acme/search", "globex"}

const (
	simSteps   = 120
	simHoldTTL = 30 * time.Second
	simScale   = 1_000_000
	simHuge    = budget.Microcents(1)<<57 + 1
	simBegan   = 1_700_000_000_000
)

// simShared is what nodes of all simulations have in common.
var simShared = sync.OnceValue(func() *Coordinator {
	cfg, err := newConfig([]Option{WithLogger(slog.New(slog.DiscardHandler)), WithHoldTTL(simHoldTTL)})
	if err != nil {
		panic(err)
	}
	c := &Coordinator{config: cfg, scripts: luascripts.Compose(luascripts.Redis, cfg.layouts), ctx: context.Background()}
	if c.telemetry, err = newTelemetry(c); err != nil {
		panic(err)
	}
	return c
})

func (s *simulation) say(format string, args ...any) {
	if s.said != nil {
		fmt.Fprintf(s.said, format+"\n", args...)
	}
}

func (s *simulation) fail(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	s.say("WRONG: "+format, args...)
}

// simulate runs one schedule and returns what went wrong in it.
func simulate(server *simredis.Server, seed uint64, mode simMode, said *strings.Builder) []string {
	return newSimulation(server, seed, mode, said).run()
}

func newSimulation(server *simredis.Server, seed uint64, mode simMode, said *strings.Builder) *simulation {
	return &simulation{seed: seed, mode: mode, random: rand.New(rand.NewPCG(seed, 4)), server: server, scripts: simShared().scripts, said: said}
}

func (s *simulation) run() []string {
	server := s.server
	server.Store, server.Now, server.Full = simredis.NewStore(), simBegan, false
	server.Forget()
	s.holdTTL = []time.Duration{simHoldTTL / 10, simHoldTTL, 0}[s.random.IntN(3)]
	s.retains = []int{1, 5, DefaultRetained}[s.random.IntN(3)]
	for range 2 + s.random.IntN(2) {
		s.addNode()
	}
	for _, tenant := range simTenants {
		s.call(s.nodes[0], &simOp{kind: luascripts.KindEnsure, tenant: tenant, amount: simBudget(tenant)})
		s.rest()
	}
	s.past = []*simredis.Store{server.Store.Clone()}
	for range simSteps {
		s.step()
		if len(s.wrong) > 0 {
			return s.wrong
		}
	}
	s.finish()
	return s.wrong
}

func simBudget(tenant budget.TenantID) budget.Microcents {
	if tenant.Root() == "globex" {
		return 7 * simHuge
	}
	return 1000 * simScale
}

func (s *simulation) addNode() {
	shared := simShared()
	c := &Coordinator{
		config: shared.config, scripts: s.scripts, telemetry: shared.telemetry,
		lanes: make(map[budget.TenantID]*lane), shards: make(map[string]*shard),
		ctx: shared.ctx,
	}
	c.config.entropy = s.random.Uint64
	c.lossFound = func() {} // askAll asks every lane in the end
	c.config.now = func() time.Time { return time.UnixMilli(s.server.Now) }
	c.config.holdTTL, c.config.retained = s.holdTTL, s.retains
	c.node.Store(s.random.Uint64())
	n := &simNode{name: fmt.Sprintf("node%d", len(s.nodes)), c: c, alive: true}
	s.nodes = append(s.nodes, n)
	s.say("%s starts as %s", n.name, layout.Incarnation(c.node.Load()))
}

// lane is what Coordinator.dispatch does, without a shard.
func (s *simulation) lane(n *simNode, root budget.TenantID) *simLane {
	l := n.c.lane(root)
	for _, known := range n.lanes {
		if known.l == l {
			return known
		}
	}
	sl := &simLane{node: n, l: l}
	n.lanes = append(n.lanes, sl)
	return sl
}

// choice is something that may happen next.
type choice struct {
	weight int
	happen func()
}

func (s *simulation) step() {
	choices := []choice{
		{6, s.somebodyAsks},
		{1, s.timePasses},
	}
	add := func(weight int, happen func()) { choices = append(choices, choice{weight, happen}) }
	if lanes := s.ready(); len(lanes) > 0 {
		add(14, func() { s.send(lanes[s.random.IntN(len(lanes))]) })
	}
	if len(s.inFlight) > 0 {
		m := s.inFlight[s.random.IntN(len(s.inFlight))]
		if m.executed {
			add(14, func() { s.answer(m) })
		} else {
			add(14, func() { s.deliver(m) })
			add(1, func() { s.refuse(m) })
		}
		add(2, func() { s.lose(m) })
	}
	if len(s.late) > 0 {
		add(2, s.lateArrives)
	}
	if ops := s.waitingOps(); len(ops) > 0 {
		add(1, func() { s.giveUp(ops[s.random.IntN(len(ops))]) })
	}
	if s.random.IntN(12) == 0 {
		choices = []choice{{2, s.crash}, {2, s.server.Forget}, {3, func() { s.server.Full = !s.server.Full }}}
		if s.mode.failovers {
			choices = append(choices, choice{4, s.failover})
		}
	}
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	pick := s.random.IntN(total)
	for _, c := range choices {
		if pick -= c.weight; pick < 0 {
			c.happen()
			return
		}
	}
}

func (s *simulation) ready() []*simLane {
	var lanes []*simLane
	for _, n := range s.nodes {
		for _, l := range n.lanes {
			if n.alive && l.ready {
				lanes = append(lanes, l)
			}
		}
	}
	return lanes
}

func (s *simulation) living() []*simNode {
	var nodes []*simNode
	for _, n := range s.nodes {
		if n.alive {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// send takes a lane's next command.
func (s *simulation) send(l *simLane) {
	l.ready = false
	args := l.l.next()
	if args == nil {
		l.ready = l.l.again()
		return
	}
	s.named++
	m := &message{name: s.named, lane: l, args: simArgs(args)}
	l.waiting = m
	s.inFlight = append(s.inFlight, m)
	s.say("%s sends %d: %s", l.node.name, m.name, m)
}

func (m *message) String() string {
	if m.args[0] != "eval" && m.args[0] != "evalsha" {
		return strings.Join(m.args, " ")
	}
	return m.args[0] + " " + strings.Join(m.args[3:], " ")
}

// books is the key that a message is about.
func (m *message) books() string {
	if m.args[0] == "eval" || m.args[0] == "evalsha" {
		return m.args[3]
	}
	return m.args[1]
}

func simArgs(args []any) []string {
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = fmt.Sprint(arg)
	}
	return texts
}

func (s *simulation) arrives(m *message) (reply any, err error) {
	session := s.sessionOf(m)
	if s.twin == nil {
		reply, err = s.server.Do(m.args)
	} else {
		reply, err = s.twin.do(s, m.args)
	}
	s.say("  at Redis: %v %v", reply, err)
	for _, root := range simFamilies {
		if layout.KeysOf(layout.DefaultPrefix, root).Books == m.books() {
			s.checkLaw(root)
		}
	}
	if s.sessionOf(m) != session {
		s.checkDue(m, reply)
	}
	if s.mode.failovers {
		s.past = append(s.past, s.server.Store.Clone())
		if len(s.past) > 24 {
			s.past = s.past[1:]
		}
	}
	return reply, err
}

// sessionOf is the session of a batch's node as it is stored.
func (s *simulation) sessionOf(m *message) string {
	if len(m.args) < commandPrefix+1 {
		return ""
	}
	return s.server.Store.Hash(m.books())["s"+m.args[commandPrefix]]
}

// checkDue: a batch that was applied just now has ended every hold that was due. A merge
// has not.
func (s *simulation) checkDue(m *message, reply any) {
	text, _ := reply.(string)
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != luascripts.Applied || strings.Trim(words[1], string([]byte{luascripts.CodeMerged, luascripts.CodeMergedOver, luascripts.CodeAsHigh, luascripts.CodeForgotten})) == "" {
		return
	}
	now, _ := strconv.ParseInt(words[2], 10, 64)
	for field, text := range s.server.Store.Hash(m.books()) {
		parts := strings.Fields(text)
		if !layout.IsHold(field) || text[0] != stateOpen || len(parts) < 3 {
			continue
		}
		if until, _ := strconv.ParseInt(parts[2], 10, 64); until > 0 && until <= now {
			s.fail("%d was applied at %d, and %s = %s is open", m.name, now, field, text)
		}
	}
}

func (s *simulation) deliver(m *message) {
	s.say("%d arrives", m.name)
	m.reply, m.err = s.arrives(m)
	m.executed = true
}

// end takes a message from those that somebody waits for.
func (s *simulation) end(m *message, reply any, err error) {
	for i, other := range s.inFlight {
		if other == m {
			s.inFlight = append(s.inFlight[:i], s.inFlight[i+1:]...)
			break
		}
	}
	if !m.lane.node.alive {
		return
	}
	l := m.lane
	l.waiting = nil
	l.l.handle(reply, err)
	l.ready = l.l.again()
	s.hear(l.node)
}

func (s *simulation) answer(m *message) {
	s.say("%d is answered", m.name)
	s.end(m, m.reply, m.err)
}

func (s *simulation) refuse(m *message) {
	errs := []error{
		&net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF},
		simredis.Error("LOADING Redis is loading the dataset in memory"),
		simredis.Error("READONLY You can't write against a read only replica."),
	}
	err := errs[s.random.IntN(len(errs))]
	s.say("%d is refused: %v", m.name, err)
	s.end(m, nil, err)
}

// lose lets the node believe that the connection broke, or answers in Redis' place as a
// proxy does. Whether the command was executed or not, it may arrive (again) later.
func (s *simulation) lose(m *message) {
	err := []error{io.ErrUnexpectedEOF, simredis.Error("upstream failure")}[s.random.IntN(2)]
	s.say("%d is lost: %v", m.name, err)
	s.late = append(s.late, &message{name: m.name, args: m.args})
	s.end(m, nil, err)
}

func (s *simulation) lateArrives() {
	i := s.random.IntN(len(s.late))
	m := s.late[i]
	if s.random.IntN(2) == 0 {
		s.late = append(s.late[:i], s.late[i+1:]...)
	}
	s.say("%d arrives late", m.name)
	_, _ = s.arrives(m)
}

func (s *simulation) timePasses() {
	s.server.Now += 1 + s.random.Int64N(1500)
	s.say("it is %d", s.server.Now-simBegan)
}

func (s *simulation) crash() {
	nodes := s.living()
	n := nodes[s.random.IntN(len(nodes))]
	s.say("%s dies", n.name)
	n.alive = false
	for _, m := range s.inFlight {
		if m.lane.node == n {
			s.late = append(s.late, &message{name: m.name, args: m.args})
		}
	}
	kept := s.inFlight[:0]
	for _, m := range s.inFlight {
		if m.lane.node != n {
			kept = append(kept, m)
		}
	}
	s.inFlight = kept
	s.addNode()
}

// failover promotes a replica that lagged, if only by nothing.
func (s *simulation) failover() {
	i := len(s.past) - 1 - s.random.IntN(min(len(s.past), 1+s.random.IntN(24)))
	s.stray = s.server.Store
	s.server.Store = s.past[i].Clone()
	s.past = append(s.past[:0], s.past[i])
	// It takes longer than a batch is valid; and another machine has another clock.
	s.server.Now += s.random.Int64N(60)
	if !s.mode.quick {
		s.server.Now += batchValidity.Milliseconds()
	}
	s.say("failover: %d writes are lost", len(s.past)-1-i)
}

// rest lets everything come to an end, without faults.
func (s *simulation) rest() {
	for range 10_000 {
		switch lanes := s.ready(); {
		case len(s.inFlight) > 0 && s.inFlight[0].executed:
			s.answer(s.inFlight[0])
		case len(s.inFlight) > 0:
			s.deliver(s.inFlight[0])
		case len(lanes) > 0:
			s.send(lanes[0])
		default:
			return
		}
		if len(s.wrong) > 0 {
			return
		}
	}
	s.fail("the lanes do not come to rest")
}

func (s *simulation) finish() {
	s.say("the faults end")
	s.server.Full = false
	s.rest()
	for len(s.late) > 0 && len(s.wrong) == 0 {
		s.lateArrives()
	}
	s.askAll()
	if len(s.wrong) == 0 {
		s.check()
	}
	if len(s.wrong) > 0 {
		return
	}
	if s.holdTTL == 0 {
		return
	}
	s.server.Now += simHoldTTL.Milliseconds() + 1
	s.say("all deadlines pass")
	s.askAll()
	s.checkEnded()
}

// askAll lets every living node ask something of every family.
func (s *simulation) askAll() {
	for _, n := range s.living() {
		for _, root := range simFamilies {
			s.call(n, &simOp{kind: luascripts.KindBalance, tenant: root})
		}
	}
	s.rest()
	for _, op := range s.ops {
		if op.node.alive && !op.left && !op.answered {
			s.fail("%s waits for ever", op)
		}
	}
}

var simFirst = flag.Uint64("sim.first", 0, "the first seed")

var simSchedules = flag.Uint64("sim.schedules", 1000, "how many schedules of each mode")

// TestSimulationIsDeterministic: a seed gives one log.
func TestSimulationIsDeterministic(t *testing.T) {
	t.Parallel()
	server := simredis.NewServer()
	for seed := range uint64(20) {
		var first, second strings.Builder
		simulate(server, seed, simMode{failovers: true}, &first)
		simulate(simredis.NewServer(), seed, simMode{failovers: true}, &second)
		if first.String() != second.String() {
			t.Fatalf("seed %d gives two logs:\n%s\nand\n%s", seed, first.String(), second.String())
		}
		if !strings.Contains(first.String(), "the faults end") {
			t.Fatalf("the log says nothing:\n%s", first.String())
		}
	}
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	schedules := *simSchedules
	var failed atomic.Bool // one log is enough to read
	for name, mode := range simModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := simredis.NewServer()
			for seed := *simFirst; seed < *simFirst+schedules && !failed.Load(); seed++ {
				if wrong := simulate(server, seed, mode, nil); len(wrong) > 0 {
					failed.Store(true)
					var log strings.Builder
					simulate(server, seed, mode, &log)
					t.Fatalf("seed %d: %s\n%s", seed, strings.Join(wrong, "\n"), log.String())
				}
			}
		})
	}
}
