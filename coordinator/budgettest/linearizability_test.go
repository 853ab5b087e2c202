package budgettest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/calybris/bursar/coordinator/budget"
)

// unreliable drops some calls of an engine: before the operation takes effect, after it, or
// so that it takes effect long after the caller got the error. Like a real engine, it later
// releases the hold of a reserve whose result was dropped.
type unreliable struct {
	*naive
	doubles bool // the mistake: repeat a grant whose result was dropped

	mu     sync.Mutex
	random *rand.Rand
	later  []func()
}

var errDropped = errors.New("the answer was dropped")

func newUnreliable(c Config, doubles bool) *unreliable {
	return &unreliable{naive: newNaive(c), doubles: doubles, random: rand.New(rand.NewPCG(7, 7))}
}

// fate returns a random number that decides what happens to a call. Sometimes it also runs
// the oldest delayed operation.
func (e *unreliable) fate() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.later) > 0 && e.random.IntN(3) == 0 {
		e.later[0]()
		e.later = e.later[1:]
	}
	return e.random.IntN(20)
}

func (e *unreliable) put(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.later = append(e.later, f)
}

// through calls do now, later or never, and drops some of its results. do must be callable
// at any time, but is called at most once.
func through[R any](e *unreliable, do func() (R, error)) (R, error) {
	var nothing R
	switch e.fate() {
	case 0:
		return nothing, errDropped
	case 1:
		if _, err := do(); err != nil {
			return nothing, err
		}
		return nothing, errDropped
	case 2:
		e.put(func() { _, _ = do() })
		return nothing, errDropped
	}
	return do()
}

func (e *unreliable) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	var made budget.Reservation
	res, err := through(e, func() (budget.Reservation, error) {
		var err error
		made, err = e.naive.TryReserve(ctx, tenant, cost, opts...)
		return made, err
	})
	if errors.Is(err, errDropped) {
		e.put(func() {
			if made.Outcome == budget.Reserved {
				_, _ = e.naive.Release(ctx, made.ID)
			}
		})
	}
	return res, err
}

func (e *unreliable) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return through(e, func() (budget.Settlement, error) { return e.naive.Commit(ctx, id, actual) })
}

func (e *unreliable) CommitAvailable(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return through(e, func() (budget.Settlement, error) { return e.naive.CommitAvailable(ctx, id, actual) })
}

func (e *unreliable) Configure(ctx context.Context, tenant budget.TenantID, settings ...budget.Setting) (budget.Configuration, error) {
	return through(e, func() (budget.Configuration, error) { return e.naive.Configure(ctx, tenant, settings...) })
}

func (e *unreliable) FreezeTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return through(e, func() (budget.Configuration, error) { return e.naive.FreezeTenant(ctx, tenant) })
}

func (e *unreliable) UnfreezeTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return through(e, func() (budget.Configuration, error) { return e.naive.UnfreezeTenant(ctx, tenant) })
}

func (e *unreliable) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return through(e, func() (budget.Settlement, error) { return e.naive.Release(ctx, id) })
}

func (e *unreliable) Withdraw(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return through(e, func() (budget.Adjustment, error) { return e.naive.Withdraw(ctx, tenant, amount) })
}

func (e *unreliable) Balance(ctx context.Context, tenant budget.TenantID, opts ...budget.BalanceOption) (budget.Balance, error) {
	return through(e, func() (budget.Balance, error) { return e.naive.Balance(ctx, tenant, opts...) })
}

func (e *unreliable) Grant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	res, err := through(e, func() (budget.Adjustment, error) { return e.naive.Grant(ctx, tenant, amount) })
	if e.doubles && errors.Is(err, errDropped) {
		_, _ = e.naive.Grant(ctx, tenant, amount)
		return e.naive.Grant(ctx, tenant, amount)
	}
	return res, err
}

func TestUnknownOutcomesAreExplained(t *testing.T) {
	for name, levels := range map[string]bool{"tenants": false, "levels": true} {
		t.Run(name, func(t *testing.T) {
			Linearizability(t, func(_ testing.TB, c Config) Subject {
				return Subject{Engine: newUnreliable(c, false), Levels: levels, Settings: true}
			})
		})
	}
}

func TestRunToleratesNoUnknownOutcome(t *testing.T) {
	failed, logged := verdict(t, func(t testing.TB) {
		linearizabilityChecks()[0].apply(t, func(_ testing.TB, c Config) Subject { return Subject{Engine: newUnreliable(c, false)} })
	})
	if !failed || !strings.Contains(logged, "got no answer") {
		t.Errorf("failed %t, logged %q", failed, logged)
	}
}

func TestRetryThatDoublesIsNoticed(t *testing.T) {
	failed, logged := verdict(t, func(t testing.TB) {
		newFixture(t, func(_ testing.TB, c Config) Subject { return Subject{Engine: newUnreliable(c, true)} }, check{}).linearize()
	})
	if !failed || !strings.Contains(logged, "the history is Illegal") {
		t.Errorf("failed %t, logged %q", failed, logged)
	}
}

func TestModelJudgesSettings(t *testing.T) {
	t.Parallel()
	created := op(0, 1, request{verb: verbEnsure, amount: 10}, response{outcome: budget.Created, remaining: 10})
	configure := func(call, ret int64, s setting, amount budget.Microcents, after budget.Settings) porcupine.Operation {
		return op(call, ret, request{verb: verbConfigure, setting: s, amount: amount}, response{outcome: budget.Configured, settings: after})
	}
	reserve := func(call, ret int64, slot int, out response) porcupine.Operation {
		return op(call, ret, request{verb: verbReserve, amount: 6, slot: slot}, out)
	}
	freeze := op(4, 7, request{verb: verbFreeze}, response{outcome: budget.Configured, settings: budget.Settings{Frozen: true}})
	held := response{outcome: budget.Reserved, remaining: 4}
	lends, caps := budget.Settings{Overdraft: 5}, budget.Settings{CapHolds: 1}
	overdrawn := func(verb verb, out response) []porcupine.Operation {
		return []porcupine.Operation{
			created, configure(2, 3, setOverdraft, 5, lends), reserve(4, 5, 0, held), op(6, 7, request{verb: verb, amount: 16, slot: 0}, out),
		}
	}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		ok      bool
	}{
		"a reserve during a freeze":         {[]porcupine.Operation{created, freeze, reserve(5, 6, 0, held)}, true},
		"a reserve after a freeze":          {[]porcupine.Operation{created, freeze, reserve(8, 9, 0, held)}, false},
		"refused after a freeze":            {[]porcupine.Operation{created, freeze, reserve(8, 9, 0, response{outcome: budget.Frozen})}, true},
		"refused before a freeze":           {[]porcupine.Operation{created, reserve(2, 3, 0, response{outcome: budget.Frozen}), freeze}, false},
		"one of two below a cap":            {[]porcupine.Operation{created, configure(2, 3, setCapHolds, 1, caps), reserve(4, 7, 0, held), reserve(5, 6, 1, response{outcome: budget.Capped, cap: budget.HoldsCap, capLimit: 1})}, true},
		"both below a cap":                  {[]porcupine.Operation{created, configure(2, 3, setCapHolds, 1, caps), reserve(4, 7, 0, held), reserve(5, 6, 1, response{outcome: budget.Insufficient, remaining: 4, required: 6})}, false},
		"settings that were not made":       {[]porcupine.Operation{created, configure(2, 3, setCapHolds, 1, lends)}, false},
		"an overrun of the overdraft":       {overdrawn(verbCommit, response{outcome: budget.Overrun, remaining: 4}), true},
		"beyond the overdraft":              {overdrawn(verbCommit, response{outcome: budget.Committed, remaining: -6, actual: 16}), false},
		"all of the overdraft":              {overdrawn(verbCommitAvailable, response{outcome: budget.Committed, remaining: -5, actual: 15, shortfall: 1}), true},
		"less than all of the overdraft":    {overdrawn(verbCommitAvailable, response{outcome: budget.Committed, remaining: -4, actual: 14, shortfall: 2}), false},
		"a shortfall that is not mentioned": {overdrawn(verbCommitAvailable, response{outcome: budget.Committed, remaining: -5, actual: 15}), false},
	} {
		if got := porcupine.CheckOperations(engineModel(), c.history); got != c.ok {
			t.Errorf("%s: explained %t, want %t:\n%s", name, got, c.ok, formatHistory(c.history))
		}
	}
}

// op returns an operation for a handwritten history.
func op(call, ret int64, in request, out response) porcupine.Operation {
	in.tenant = "acme"
	return porcupine.Operation{Call: call, Return: ret, Input: in, Output: out}
}

func TestModelJudgesHistories(t *testing.T) {
	t.Parallel()
	created := op(0, 1, request{verb: verbEnsure, amount: 10}, response{outcome: budget.Created, remaining: 10})
	reserve := func(call, ret int64, slot int, remaining budget.Microcents) porcupine.Operation {
		return op(call, ret, request{verb: verbReserve, amount: 6, slot: slot}, response{outcome: budget.Reserved, remaining: remaining})
	}
	release := func(call, ret int64, out response) porcupine.Operation {
		return op(call, ret, request{verb: verbRelease, slot: 0}, out)
	}
	returned := response{outcome: budget.Released, remaining: 10, returned: 6}
	late := response{outcome: budget.MissingReservation, prior: budget.Released}
	read := func(call, ret int64, remaining budget.Microcents) porcupine.Operation {
		return op(call, ret, request{verb: verbRemaining}, response{outcome: budget.Found, remaining: remaining})
	}
	const last = 1 << 40
	lost := op(2, last, request{verb: verbReserve, amount: 6, slot: 0}, response{unknown: true})
	abandoned := op(2, last, request{verb: verbAbandon, slot: 0}, response{unknown: true})
	stranger := op(6, 7, request{verb: verbHolds}, response{
		outcome: budget.Found, granted: 10, remaining: 4, reserved: 6,
		holds: &holdings{strangers: []budget.Microcents{6}, unknown: [maxReservations]bool{true}},
	})
	for name, c := range map[string]struct {
		history []porcupine.Operation
		want    porcupine.CheckResult
	}{
		"one after the other":                {[]porcupine.Operation{created, reserve(2, 3, 0, 4), release(4, 5, returned), release(6, 7, late)}, porcupine.Ok},
		"both got the last money":            {[]porcupine.Operation{created, reserve(2, 5, 0, 4), reserve(3, 6, 1, 4)}, porcupine.Illegal},
		"one of two settles":                 {[]porcupine.Operation{created, reserve(2, 3, 0, 4), release(4, 7, late), release(5, 6, returned)}, porcupine.Ok},
		"both settles":                       {[]porcupine.Operation{created, reserve(2, 3, 0, 4), release(4, 7, returned), release(5, 6, returned)}, porcupine.Illegal},
		"a stale read":                       {[]porcupine.Operation{created, reserve(2, 3, 0, 4), read(4, 5, 10)}, porcupine.Illegal},
		"a read concurrent with the reserve": {[]porcupine.Operation{created, reserve(2, 5, 0, 4), read(3, 4, 10)}, porcupine.Ok},
		"a lost reserve that happened":       {[]porcupine.Operation{created, lost, abandoned, read(3, 4, 10), read(4, 5, 4), stranger}, porcupine.Ok},
		"a lost reserve that did not":        {[]porcupine.Operation{created, lost, abandoned, read(8, 9, 10)}, porcupine.Ok},
		"a lost reserve that was undone":     {[]porcupine.Operation{created, lost, abandoned, read(4, 5, 4), read(8, 9, 10)}, porcupine.Ok},
		"a lost reserve that came twice":     {[]porcupine.Operation{created, lost, abandoned, read(4, 5, 4), read(8, 9, 10), read(10, 11, 4)}, porcupine.Illegal},
		"a lost reserve of other amounts":    {[]porcupine.Operation{created, lost, abandoned, read(4, 5, 5)}, porcupine.Illegal},
	} {
		if got := porcupine.CheckOperations(engineModel(), c.history); got != (c.want == porcupine.Ok) {
			t.Errorf("%s: explained %t, want %s:\n%s", name, got, c.want, formatHistory(c.history))
		}
	}
}
