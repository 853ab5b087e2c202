package lane

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/simredis"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A simulation runs nodes against the shipped Lua. Nothing in it happens by itself: one
// stepper picks the next event, from one source of randomness, and owns the clock. So a
// seed gives one schedule, step by step, and its log is the same byte for byte.
type simulation struct {
	seed    uint64
	mode    simMode
	random  *rand.Rand
	entropy *rand.Rand       // of node IDs, incarnations and digests
	server  *simredis.Server // of all partitions; a partition's store is set when it is used
	scripts luascripts.Scripts
	twin    *realTwin        // nil without a real Redis
	log     *strings.Builder // nil for none
	wrong   []string

	partitions []*simPartition
	common     *simredis.Store // keys of no partition
	config     store.Config
	nodes      []*simNode
	inFlight   []*message
	late       []*message // lost messages that may still arrive
	ops        []*simOp
	holds      []*simHold // that were returned to callers
	adjusts    int        // grants and withdrawals so far
	messages   int

	damaged  map[budget.TenantID]bool // root tenants: an account or a hold of one of their levels was damaged once
	orphaned map[budget.TenantID]int  // accounts that were removed by hand
	cloned   map[uint64]bool          // node IDs

	// configures is the number of operations on settings, of 100; overdrafts are the largest
	// that were asked for.
	configures int
	overdrafts map[store.AccountID]budget.Microcents
	windows    bool                     // accounts may have them
	limits     bool                     // tenants may have further limits
	renewing   map[budget.TenantID]bool // had a window
	lowering   map[store.AccountID]bool // had a rolling window, whose amount may be lowered at once
	jumped     int64                    // in all, ms
}

// simMode selects the faults of a schedule.
type simMode struct {
	failovers bool // Redis loses writes
	// quick promotes a replica while late duplicates are still valid. Then a batch can
	// take effect at the replica with another result than before.
	quick bool
}

var simModes = map[string]simMode{"steady": {}, "failovers": {failovers: true}, "quick failovers": {failovers: true, quick: true}}

// simPartition is a partition, with a primary of its own.
type simPartition struct {
	index  int
	keys   store.Keys
	tenant budget.TenantID // one of its tenants, if it has any
	store  *simredis.Store
	past   []*simredis.Store // states that a replica may have
	// server is the number of its primary: a cursor of one has no meaning at another.
	server uint64
	// damages holds the records that were damaged, by field, with their values.
	damages map[string]simDamage
	ledger  simLedger // after the last command
	audit   *store.Snapshot
}

type simDamage struct{ bad, good string }

// simNode is one node of the fleet.
type simNode struct {
	name  string
	n     *Node
	lanes []*simLane
	alive bool
}

// simLane is a lane, and whether it has a command to send.
type simLane struct {
	node  *simNode
	l     *Lane
	ready bool
}

// simTenants cover two partitions; the amounts of globex need all 64 bits.
var simTenants = []budget.TenantID{"acme", "acme/search", "acme/search/key", "globex", "initech", "wayne"}

// simTemporary are the tenants that are deleted and created again, and get no grants.
var simTemporary = []budget.TenantID{"acme/search", "wayne"}

func isTemporary(tenant budget.TenantID) bool { return slices.Contains(simTemporary, tenant) }

// hasLevelsBelow reports whether others of the tenants are below this one.
func hasLevelsBelow(tenant budget.TenantID) bool {
	return slices.ContainsFunc(simTenants, func(other budget.TenantID) bool { return strings.HasPrefix(string(other), string(tenant)+"/") })
}

const (
	simSteps     = 160
	simHoldTTL   = 30 * time.Second
	simRetention = 10 * time.Minute
	simScale     = 1_000_000
	simAdjusts   = 20 // most grants and withdrawals; 7 does not divide it
	simHuge      = budget.Microcents(1)<<57 + 1
	simBegan     = 1_700_000_000_000
	simPrefix    = "sim"
)

func (s *simulation) logf(format string, args ...any) {
	if s.log != nil {
		fmt.Fprintf(s.log, format+"\n", args...)
	}
}

func (s *simulation) failf(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	s.logf("WRONG: "+format, args...)
}

// simScripts returns the shipped scripts, and those with bounds that a simulation
// reaches.
var simScripts = sync.OnceValues(func() (shipped, small luascripts.Scripts) {
	return composeSources(nil), composeSources(simBounds)
})

// A replacement replaces a text that occurs once in a file of the Lua.
type replacement struct{ File, Old, New string }

var simBounds = []replacement{
	{"expiry.lua", "2 * operations + 64", "operations + 1"},
	{"expiry.lua", "operations == 0 and $MAX_SWEEP", "operations == 0 and 4"},
	{"expiry.lua", "if records > 4 then", "if records > 1 then"},
	{"write.lua", "ringHead % 32 == 0", "ringHead % 3 == 0"},
	{"page.lua", "{}, $PAGE_ENDINGS", "{}, 2"},
	{"rebuild.lua", "'COUNT', $REBUILD_FIELDS", "'COUNT', 5"},
}

// composeSources composes the scripts from the files of the Lua with replacements.
func composeSources(replacements []replacement) luascripts.Scripts {
	const folder = "../../../luascripts"
	files := fstest.MapFS{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".lua") {
			text, err := os.ReadFile(folder + "/" + entry.Name())
			if err != nil {
				panic(err)
			}
			files[entry.Name()] = &fstest.MapFile{Data: text}
		}
	}
	if *simBroken != "" {
		var broken replacement
		if err := json.Unmarshal([]byte(*simBroken), &broken); err != nil {
			panic(err)
		}
		replacements = slices.Concat([]replacement{broken}, replacements)
	}
	for _, r := range replacements {
		file := files[r.File]
		if n := strings.Count(string(file.Data), r.Old); n != 1 {
			panic(fmt.Sprintf("%s has %q %d times, want once", r.File, r.Old, n))
		}
		file.Data = []byte(strings.Replace(string(file.Data), r.Old, r.New, 1))
	}
	return luascripts.ComposeFrom(luascripts.Redis, files)
}

// simulate runs one schedule and returns its failures.
func simulate(server *simredis.Server, seed uint64, mode simMode, log *strings.Builder) []string {
	return newSimulation(server, seed, mode, log).run()
}

func newSimulation(server *simredis.Server, seed uint64, mode simMode, log *strings.Builder) *simulation {
	s := &simulation{
		seed: seed, mode: mode, random: rand.New(rand.NewPCG(seed, 4)), entropy: rand.New(rand.NewPCG(seed, 5)), server: server, log: log, common: simredis.NewStore(),
		damaged: make(map[budget.TenantID]bool), orphaned: make(map[budget.TenantID]int), cloned: make(map[uint64]bool),
		overdrafts: make(map[store.AccountID]budget.Microcents), renewing: make(map[budget.TenantID]bool), lowering: make(map[store.AccountID]bool),
	}
	shipped, small := simScripts()
	s.scripts = shipped
	server.ScanFields = 0
	if seed%4 != 0 {
		s.scripts, server.ScanFields = small, 5
	}
	return s
}

func (s *simulation) run() []string {
	// Half of the schedules have no settings: accounts without any have a path of their own.
	s.configures = []int{0, 0, 5, 12}[s.random.IntN(4)]
	s.windows = s.configures > 0 && s.random.IntN(3) > 0
	s.limits = s.windows && s.random.IntN(2) == 0
	s.begin([]int{1, 2, 4}[s.random.IntN(3)])
	for range 1 + s.random.IntN(2) {
		s.addNode()
	}
	s.truncateHistory()
	for range simSteps {
		s.step()
		if len(s.wrong) > 0 {
			return s.wrong
		}
	}
	s.finish()
	return s.wrong
}

// begin makes the partitions, a node and all tenants.
func (s *simulation) begin(partitions int) {
	s.server.Now, s.server.Full = simBegan, false
	if s.windows {
		s.server.Now = simNext(budget.Window{Period: budget.Hour, Zone: "UTC"}, simBegan) - s.random.Int64N(20_000)
	}
	s.server.Forget()
	s.config = store.Config{
		HoldTTL:   []time.Duration{simHoldTTL / 10, simHoldTTL, 0}[s.random.IntN(3)].Milliseconds(),
		Retention: simRetention.Milliseconds(),
		Ring:      []int{1, 5, 4096}[s.random.IntN(3)],
		MaxHolds:  []int{0, 3, 100_000}[s.random.IntN(3)],
	}
	if s.windows && s.random.IntN(2) == 0 {
		s.config.HoldTTL = 0 // holds outlive their epochs
	}
	for i := range partitions {
		p := &simPartition{index: i, keys: store.KeysOf(simPrefix, partitions, i), store: simredis.NewStore(), damages: make(map[string]simDamage)}
		s.partitions = append(s.partitions, p)
	}
	for _, tenant := range simTenants {
		s.partitionOf(tenant).tenant = tenant
	}
	s.addNode()
	for _, tenant := range simTenants {
		op := &simOp{kind: luascripts.KindEnsure, tenant: tenant, amount: simBudget(tenant)}
		if s.configures > 0 && s.random.IntN(2) == 0 || s.windows && s.random.IntN(2) == 0 {
			s.ensureWith(op)
		}
		s.call(s.nodes[0], op)
		s.rest()
	}
}

func simBudget(tenant budget.TenantID) budget.Microcents {
	if tenant == "globex" {
		return 4 * simHuge
	}
	return 500 * simScale
}

func (s *simulation) partitionOf(tenant budget.TenantID) *simPartition {
	return s.partitions[store.PartitionOf(tenant, len(s.partitions))]
}

func (s *simulation) addNode() *simNode {
	node := &simNode{name: fmt.Sprintf("node%d", len(s.nodes)), alive: true}
	config := s.nodeConfig(len(s.partitions))
	config.Wake = func(l *Lane, _ time.Duration) { node.lanes[l.Index()].ready = true }
	node.n = NewNode(config)
	for _, l := range node.n.Lanes() {
		node.lanes = append(node.lanes, &simLane{node: node, l: l})
	}
	s.nodes = append(s.nodes, node)
	s.logf("%s starts as %s", node.name, store.HexID(node.n.ID()))
	return node
}

func (s *simulation) nodeConfig(partitions int) Config {
	return Config{
		Prefix: simPrefix, Partitions: partitions, Scripts: s.scripts, Store: s.config,
		RepairWindow: 5 * time.Minute, RepairBytes: 64 << 20, TenantQueue: 1000, TotalQueue: 1000, CallTimeout: 10 * time.Second,
		Now: func() time.Time { return time.UnixMilli(s.server.Now) }, Entropy: s.entropy.Uint64,
		Logger: slog.New(slog.DiscardHandler), Observer: NopObserver{}, Wake: func(*Lane, time.Duration) {},
	}
}

// choice is a possible next event.
type choice struct {
	weight int
	happen func()
}

func (s *simulation) step() {
	choices := []choice{
		{6, s.ask},
		{1, s.passTime},
		{1, s.readPage},
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
		add(2, s.deliverLate)
	}
	if ops := s.waitingOps(); len(ops) > 0 {
		add(1, func() { s.abandon(ops[s.random.IntN(len(ops))]) })
	}
	if s.windows {
		add(3, s.jump)
	}
	if s.random.IntN(10) == 0 {
		choices = s.faults()
	}
	s.pick(choices)
}

func (s *simulation) pick(choices []choice) {
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

// probe makes every node look for lost writes, as it does while it is idle.
func (s *simulation) probe() {
	for _, n := range s.living() {
		for i := range s.partitions {
			n.n.ProbeRecent(func(l *Lane) bool { return l.Index() == i })
		}
	}
}

// rest finishes everything in progress, without faults.
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
	s.failf("the lanes do not become idle")
}

func (s *simulation) finish() {
	s.logf("the faults end")
	s.server.Full = false
	for _, p := range s.partitions { // clocks may have gone back
		s.server.Now = max(s.server.Now, p.ledger.control.Time)
	}
	s.rest()
	for len(s.late) > 0 && len(s.wrong) == 0 {
		s.deliverLate()
	}
	s.repairRecords()
	s.askAll()
	if len(s.wrong) == 0 {
		s.check()
	}
	if len(s.wrong) > 0 {
		return
	}
	// Longer than any hold lives, and until a damaged one is tried again.
	s.server.Now += max(simHoldTTL.Milliseconds(), 60_000) + 1
	s.logf("all deadlines pass")
	s.askAll()
	s.checkEnded()
	s.server.Now += simRetention.Milliseconds() + 1
	s.logf("the retention passes")
	for range 20 {
		s.server.Now += 1001 // as long as a record may wait for the next batch
		for _, p := range s.partitions {
			if p.tenant != "" {
				s.call(s.living()[0], &simOp{kind: luascripts.KindBalance, tenant: p.tenant})
			}
		}
		s.rest()
		if s.forgotten() {
			return
		}
	}
	s.failf("tombstones of deadlines and repairs are kept after the retention")
}

// askAll makes every living node read every account.
func (s *simulation) askAll() {
	for _, n := range s.living() {
		for _, tenant := range simTenants {
			s.call(n, &simOp{kind: luascripts.KindBalance, tenant: tenant})
		}
	}
	s.rest()
	for _, op := range s.ops {
		if op.node.alive && !op.abandoned && !op.returned && len(s.wrong) == 0 {
			s.failf("%s never returns", op)
		}
	}
}

var simFirst = flag.Uint64("sim.first", 0, "the first seed")

// simBroken is a [replacement] that breaks a rule, for the tests that must notice it.
var simBroken = flag.String("sim.broken", "", "a replacement in a file of the Lua, as JSON")

var simSchedules = flag.Uint64("sim.schedules", 200, "the number of schedules of each mode")

// A seed always gives the same log.
func TestSimulationIsDeterministic(t *testing.T) {
	t.Parallel()
	server := simredis.NewServer()
	for seed := range uint64(10) {
		var first, second strings.Builder
		simulate(server, seed, simMode{failovers: true}, &first)
		simulate(simredis.NewServer(), seed, simMode{failovers: true}, &second)
		if first.String() != second.String() {
			t.Fatalf("seed %d gives two logs:\n%s\nand\n%s", seed, first.String(), second.String())
		}
		if !strings.Contains(first.String(), "the faults end") {
			t.Fatalf("the log is cut short:\n%s", first.String())
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
