package budgettest

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/anishathalye/porcupine"

	"github.com/calybris/bursar/coordinator/budget"
)

// recorder runs concurrent callers on an engine and records the results. Its clock is a
// counter: if an operation returns before another is called, its number is lower, and
// linearizability depends on nothing else.
type recorder struct {
	ctx    context.Context
	engine budget.Engine
	// tenants are those of the history. With levels they are one family, in an order in
	// which ancestors come first.
	tenants  []budget.TenantID
	levels   bool
	settings bool // some operations are those of settings
	ticks    atomic.Int64

	mu     sync.Mutex
	events []event
	ids    map[budget.TenantID][]budget.ReservationID // of the reserves so far
}

// event is a recorded operation, with the IDs of reservations instead of their numbers.
type event struct {
	caller      int
	request     request
	response    response
	call, ret   int64
	reservation budget.ReservationID // reserved or settled
	list        []budget.Hold
	level       budget.TenantID
}

func newRecorder(x *fixture, levels, settings bool, tenants ...budget.TenantID) *recorder {
	return &recorder{ctx: x.ctx, engine: x.engine, tenants: tenants, levels: levels, settings: settings, ids: make(map[budget.TenantID][]budget.ReservationID)}
}

const (
	historyCallers = 4
	historyEach    = 9 // 36 operations; with those at the end, fewer than maxReservations
)

// A barrier is at which callers wait to start an operation together. Without it, the
// operations on a fast engine would hardly overlap.
type barrier struct {
	callers int64
	arrived atomic.Int64
}

// spinLimit is the number of times that a caller checks the barrier before it yields its
// processor. A caller that yields at once would start its operation later than the others.
const spinLimit = 2000

func (m *barrier) wait() {
	place := m.arrived.Add(1)
	target := (place + m.callers - 1) / m.callers * m.callers
	for spins := 0; m.arrived.Load() < target; spins++ {
		if spins > spinLimit {
			runtime.Gosched()
		}
	}
}

// record runs the callers and then reads every tenant once more, to detect a wrong state
// that the callers didn't observe.
func (r *recorder) record(seed uint64) {
	all := barrier{callers: historyCallers}
	atOnce(historyCallers, func(caller int) {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		for i := range historyEach {
			if i%3 != 2 {
				all.wait()
			}
			r.perform(caller, r.choose(random, i))
		}
	})
	for _, tenant := range r.tenants {
		r.perform(0, event{request: request{verb: verbHolds, tenant: tenant}})
		r.perform(0, event{request: request{verb: verbBalance, tenant: tenant}})
	}
}

var historyVerbs = []verb{
	verbReserve, verbReserve, verbReserve, verbReserve, verbCommit, verbCommit, verbCommit, verbRelease, verbRelease,
	verbGrant, verbWithdraw, verbRemaining, verbBalance, verbHolds, verbEnsure,
}

// settingVerbs replace a third of them in histories with settings. A freeze is soon ended by
// an unfreeze, so that other operations have more than one outcome.
var settingVerbs = []verb{
	verbConfigure, verbConfigure, verbConfigure, verbConfigure, verbCommitAvailable, verbCommitAvailable, verbCommitAvailable,
	verbFreeze, verbUnfreeze, verbUnfreeze,
}

// choose returns a random operation. Budgets are small compared to the costs, so that
// callers compete for the last of the money, and every caller settles the reservations of
// all.
func (r *recorder) choose(random *rand.Rand, i int) event {
	e := event{request: request{tenant: r.tenants[random.IntN(len(r.tenants))], amount: budget.Microcents(1 + random.IntN(6))}}
	e.request.verb = historyVerbs[random.IntN(len(historyVerbs))]
	if i == 0 {
		e.request.verb = verbEnsure
	} else if r.levels && random.IntN(16) == 0 {
		e.request.verb = verbDelete
	} else if r.settings && random.IntN(3) == 0 {
		e.request.verb = settingVerbs[random.IntN(len(settingVerbs))]
	} else if r.settings && random.IntN(40) == 0 {
		e.request.verb = verbClose
	}
	if e.request.verb == verbConfigure {
		e.request.setting, e.request.amount = setting(random.IntN(int(setThresholds))), budget.Microcents(random.IntN(8))
	}
	if e.request.verb == verbEnsure {
		e.request.amount += 8
	}
	if e.request.verb.settles() {
		r.mu.Lock()
		given := r.ids[e.request.tenant]
		r.mu.Unlock()
		if len(given) == 0 {
			e.request.verb = verbReserve
			return e
		}
		// One of the latest, which other callers are likely to settle as well.
		e.reservation = given[max(0, len(given)-1-random.IntN(4))]
		e.request.amount = budget.Microcents(random.IntN(12))
	}
	return e
}

// perform calls the engine and records the result.
func (r *recorder) perform(caller int, e event) {
	e.caller = caller
	e.call = r.ticks.Add(1)
	err := e.apply(r.ctx, r.engine)
	e.ret = r.ticks.Add(1)
	if err != nil {
		e.response = response{unknown: true}
		if e.request.verb == verbReserve {
			e.reservation = budget.ReservationID{}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if e.request.verb == verbReserve && e.response.outcome == budget.Reserved {
		r.ids[e.request.tenant] = append(r.ids[e.request.tenant], e.reservation)
	}
}

func (e *event) apply(ctx context.Context, engine budget.Engine) error {
	tenant, amount := e.request.tenant, e.request.amount
	switch e.request.verb {
	case verbEnsure:
		res, err := engine.EnsureTenant(ctx, tenant, amount)
		e.response = response{outcome: res.Outcome, remaining: res.Remaining}
		return err
	case verbReserve:
		res, err := engine.TryReserve(ctx, tenant, amount)
		e.reservation = res.ID
		e.response = response{outcome: res.Outcome, remaining: res.Remaining, required: res.Required, cap: res.Cap, capLimit: res.CapLimit}
		e.level = res.Level
		return err
	case verbCommit:
		res, err := engine.Commit(ctx, e.reservation, amount)
		e.response, e.level = settlementResponse(res), res.Level
		return err
	case verbCommitAvailable:
		res, err := engine.CommitAvailable(ctx, e.reservation, amount)
		e.response, e.level = settlementResponse(res), res.Level
		return err
	case verbRelease:
		res, err := engine.Release(ctx, e.reservation)
		e.response, e.level = settlementResponse(res), res.Level
		return err
	case verbGrant:
		res, err := engine.Grant(ctx, tenant, amount)
		e.response = response{outcome: res.Outcome, remaining: res.Remaining, required: res.Required}
		return err
	case verbWithdraw:
		res, err := engine.Withdraw(ctx, tenant, amount)
		e.response = response{outcome: res.Outcome, remaining: res.Remaining, required: res.Required}
		return err
	case verbDelete:
		res, err := engine.(levelled).DeleteTenant(ctx, tenant)
		e.response = balanceResponse(res)
		return err
	case verbConfigure:
		return e.configured(engine.Configure(ctx, tenant, e.request.setting.of(amount, nil)...))
	case verbFreeze:
		return e.configured(engine.FreezeTenant(ctx, tenant))
	case verbUnfreeze:
		return e.configured(engine.UnfreezeTenant(ctx, tenant))
	case verbClose:
		return e.configured(engine.CloseTenant(ctx, tenant))
	case verbRemaining, verbBalance, verbHolds, verbLookup, verbAdvance, verbAbandon:
	}
	return e.applyRead(ctx, engine)
}

func (e *event) configured(res budget.Configuration, err error) error {
	e.response = response{outcome: res.Outcome, settings: res.Settings}
	return err
}

func (e *event) applyRead(ctx context.Context, engine budget.Engine) error {
	if e.request.verb == verbBalance {
		res, err := engine.Balance(ctx, e.request.tenant)
		e.response = balanceResponse(res)
		return err
	}
	if e.request.verb == verbHolds {
		res, err := engine.Holds(ctx, e.request.tenant)
		e.response = balanceResponse(res.Balance)
		e.response.outcome = res.Outcome
		e.list = res.Holds
		return err
	}
	res, err := engine.Remaining(ctx, e.request.tenant)
	e.response, e.level = response{outcome: res.Outcome, remaining: res.Remaining}, res.Level
	return err
}

func settlementResponse(res budget.Settlement) response {
	return response{outcome: res.Outcome, prior: res.Prior, remaining: res.Remaining, actual: res.Actual, returned: res.Returned, shortfall: res.Shortfall}
}

func balanceResponse(res budget.Balance) response {
	return response{
		outcome: res.Outcome, granted: res.Granted, remaining: res.Remaining, reserved: res.Reserved, expended: res.Committed,
		settings: res.Settings,
	}
}

// numbering numbers the reservations of each part of a history, including those whose
// reserve is unknown.
type numbering struct {
	slots   map[budget.ReservationID]int
	unknown map[budget.TenantID]*[maxReservations]bool // by part
}

func (r *recorder) number() numbering {
	n := numbering{slots: make(map[budget.ReservationID]int), unknown: make(map[budget.TenantID]*[maxReservations]bool)}
	next := make(map[budget.TenantID]int)
	for i := range r.events {
		e := &r.events[i]
		r.place(e)
		part := e.request.part()
		if n.unknown[part] == nil {
			n.unknown[part] = new([maxReservations]bool)
		}
		if e.request.verb != verbReserve {
			continue
		}
		e.request.slot = next[part]
		next[part]++
		n.unknown[part][e.request.slot] = e.response.unknown
		if e.response.outcome == budget.Reserved {
			n.slots[e.reservation] = e.request.slot
		}
	}
	return n
}

// place numbers the accounts of an event.
func (r *recorder) place(e *event) {
	if !r.levels {
		return
	}
	for i, tenant := range r.tenants {
		if tenant == e.request.tenant {
			e.request.account = i
		}
		if e.request.tenant == tenant || strings.HasPrefix(string(e.request.tenant), string(tenant)+"/") {
			e.request.levels |= 1 << i
		}
		if tenant == e.level {
			e.response.level = i + 1
		}
	}
}

// history returns the recorded operations for porcupine. An operation with an unknown
// outcome may take effect at any later time, so its return is after all others. The hold of
// an unknown reserve may also be released by the engine, since no caller has its ID.
func (r *recorder) history() []porcupine.Operation {
	const last = 1 << 40
	n := r.number()
	var history []porcupine.Operation
	add := func(e event) {
		history = append(history, porcupine.Operation{ClientId: e.caller, Input: e.request, Output: e.response, Call: e.call, Return: e.ret})
	}
	for _, e := range r.events {
		if e.request.verb.settles() {
			e.request.slot = n.slots[e.reservation]
		}
		if e.request.verb == verbHolds && e.response.outcome == budget.Found {
			e.response.holds = n.holdings(e.request.part(), e.list)
		}
		if e.response.unknown {
			e.ret = last
		}
		add(e)
		if e.response.unknown && e.request.verb == verbReserve {
			e.request.verb = verbAbandon
			add(e)
		}
	}
	return history
}

func (n numbering) holdings(part budget.TenantID, list []budget.Hold) *holdings {
	h := &holdings{unknown: *n.unknown[part]}
	for _, one := range list {
		if slot, known := n.slots[one.ID]; known && h.known[slot] == 0 {
			h.known[slot] = one.Held
		} else {
			h.strangers = append(h.strangers, one.Held)
		}
	}
	slices.Sort(h.strangers)
	return h
}
