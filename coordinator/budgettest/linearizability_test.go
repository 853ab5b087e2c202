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

func (e *unreliable) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return through(e, func() (budget.Settlement, error) { return e.naive.Release(ctx, id) })
}

func (e *unreliable) Withdraw(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return through(e, func() (budget.Adjustment, error) { return e.naive.Withdraw(ctx, tenant, amount) })
}

func (e *unreliable) Balance(ctx context.Context, tenant budget.TenantID) (budget.Balance, error) {
	return through(e, func() (budget.Balance, error) { return e.naive.Balance(ctx, tenant) })
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
				return Subject{Engine: newUnreliable(c, false), Levels: levels}
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
