package budgettest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// naive is an engine that is simple enough to be verified by reading: it has one lock, a
// map of accounts and a map of holds, and never forgets a reservation. The suites are
// tested on it and on its broken variants.
type naive struct {
	mu       sync.Mutex
	ttl      time.Duration
	clock    func() time.Time
	now      int64 // Unix milliseconds
	grace    int64 // ms that a hold stays open after its deadline; not 0 in a broken variant
	accounts map[budget.TenantID]*budget.Balance
	holds    map[budget.ReservationID]budget.Hold
	ended    map[budget.ReservationID]budget.Fate
}

func newNaive(c Config) *naive {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &naive{
		ttl: c.HoldTTL, clock: c.Clock,
		accounts: make(map[budget.TenantID]*budget.Balance),
		holds:    make(map[budget.ReservationID]budget.Hold),
		ended:    make(map[budget.ReservationID]budget.Fate),
	}
}

// naiveFactory returns a naive engine, with its own maps as its store.
func naiveFactory(_ testing.TB, c Config) Subject {
	e := newNaive(c)
	return Subject{Engine: e, Stored: e.stored}
}

// begin takes the lock, ends the holds that are due and returns the tenant's account.
func (e *naive) begin(tenant budget.TenantID) (*budget.Balance, error) {
	e.mu.Lock()
	e.now = max(e.now, e.clock().UnixMilli())
	for id, h := range e.holds {
		if !h.Deadline.IsZero() && h.Deadline.UnixMilli()+e.grace <= e.now {
			e.end(id, 0, budget.Expired)
		}
	}
	return e.accounts[tenant], tenant.Validate()
}

func (e *naive) end(id budget.ReservationID, spent budget.Microcents, how budget.Outcome) {
	account := e.accounts[id.Tenant()]
	held := e.holds[id].Held
	account.Reserved -= held
	account.Committed += spent
	account.Remaining += held - spent
	delete(e.holds, id)
	amount := held
	if how == budget.Committed {
		amount = spent
	}
	e.ended[id] = budget.Fate{Outcome: how, Amount: amount, At: time.UnixMilli(e.now).UTC()}
}

func (e *naive) EnsureTenant(_ context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Ensured, error) {
	account, _ := e.begin(tenant)
	defer e.mu.Unlock()
	if err := budget.ValidateBudget(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	if account != nil {
		return budget.Ensured{Outcome: budget.Exists, Remaining: account.Remaining}, nil
	}
	e.accounts[tenant] = &budget.Balance{Outcome: budget.Found, Granted: amount, Remaining: amount}
	return budget.Ensured{Outcome: budget.Created, Remaining: amount}, nil
}

func (e *naive) TryReserve(_ context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	account, err := e.begin(tenant)
	defer e.mu.Unlock()
	o, bad := budget.Apply(opts)
	switch {
	case err != nil:
		return budget.Reservation{}, err
	case bad != nil:
		return budget.Reservation{}, bad
	case cost <= 0:
		return budget.Reservation{Outcome: budget.Insufficient, Required: cost}, nil
	case account == nil:
		return budget.Reservation{Outcome: budget.MissingTenant}, nil
	case account.Remaining < cost:
		return budget.Reservation{Outcome: budget.Insufficient, Remaining: account.Remaining, Required: cost}, nil
	}
	ttl := e.ttl
	if o.HasHoldTTL {
		ttl = o.HoldTTL
	}
	hold := budget.Hold{
		ID:   budget.NewReservationID(tenant, 0xbeef, uint64(len(e.holds)+len(e.ended))),
		Held: cost, Made: time.UnixMilli(e.now).UTC(),
	}
	if ttl > 0 {
		hold.Deadline = hold.Made.Add(ttl)
	}
	e.holds[hold.ID] = hold
	account.Remaining -= cost
	account.Reserved += cost
	return budget.Reservation{Outcome: budget.Reserved, ID: hold.ID, Remaining: account.Remaining}, nil
}

func (e *naive) Commit(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	account, _ := e.begin(id.Tenant())
	defer e.mu.Unlock()
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	h, open := e.holds[id]
	switch {
	case actual < 0:
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	case !open:
		return budget.Settlement{Outcome: budget.MissingReservation, Prior: e.ended[id].Outcome}, nil
	case actual-h.Held > account.Remaining:
		return budget.Settlement{Outcome: budget.Overrun, Remaining: account.Remaining}, nil
	}
	e.end(id, actual, budget.Committed)
	return budget.Settlement{Outcome: budget.Committed, Remaining: account.Remaining, Actual: actual}, nil
}

func (e *naive) Release(_ context.Context, id budget.ReservationID) (budget.Settlement, error) {
	account, _ := e.begin(id.Tenant())
	defer e.mu.Unlock()
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	h, open := e.holds[id]
	if !open {
		return budget.Settlement{Outcome: budget.MissingReservation, Prior: e.ended[id].Outcome}, nil
	}
	e.end(id, 0, budget.Released)
	return budget.Settlement{Outcome: budget.Released, Remaining: account.Remaining, Returned: h.Held}, nil
}

func (e *naive) Lookup(_ context.Context, id budget.ReservationID) (budget.Fate, error) {
	_, _ = e.begin(id.Tenant())
	defer e.mu.Unlock()
	if err := id.Validate(); err != nil {
		return budget.Fate{}, err
	}
	if h, open := e.holds[id]; open {
		return budget.Fate{Outcome: budget.Reserved, Amount: h.Held, At: h.Made, Deadline: h.Deadline}, nil
	}
	if fate, known := e.ended[id]; known && e.now-fate.At.UnixMilli() <= 24*60*60*1000 {
		return fate, nil
	}
	return budget.Fate{Outcome: budget.NotKnown}, nil
}

func (e *naive) Remaining(ctx context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	b, err := e.Balance(ctx, tenant)
	return budget.Remainder{Outcome: b.Outcome, Remaining: b.Remaining}, err
}

func (e *naive) Balance(_ context.Context, tenant budget.TenantID) (budget.Balance, error) {
	account, err := e.begin(tenant)
	defer e.mu.Unlock()
	if err != nil {
		return budget.Balance{}, err
	}
	if account == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	return *account, nil
}

func (e *naive) Holds(_ context.Context, tenant budget.TenantID) (budget.HoldList, error) {
	account, err := e.begin(tenant)
	defer e.mu.Unlock()
	if err != nil {
		return budget.HoldList{}, err
	}
	if account == nil {
		return budget.HoldList{Outcome: budget.MissingTenant}, nil
	}
	return e.list(tenant), nil
}

func (e *naive) list(tenant budget.TenantID) budget.HoldList {
	list := budget.HoldList{Outcome: budget.Found, Balance: *e.accounts[tenant]}
	for id, h := range e.holds {
		if id.Tenant() == tenant {
			list.Holds = append(list.Holds, h)
		}
	}
	slices.SortFunc(list.Holds, func(a, b budget.Hold) int { return compareIDs(a.ID, b.ID) })
	return list
}

func (e *naive) stored(context.Context) (map[budget.TenantID]budget.HoldList, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[budget.TenantID]budget.HoldList)
	for tenant := range e.accounts {
		all[tenant] = e.list(tenant)
	}
	return all, nil
}

func (e *naive) Grant(_ context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return e.adjust("grant", tenant, amount, amount)
}

func (e *naive) Withdraw(_ context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return e.adjust("withdraw", tenant, amount, -amount)
}

func (e *naive) adjust(verb string, tenant budget.TenantID, amount, change budget.Microcents) (budget.Adjustment, error) {
	account, _ := e.begin(tenant)
	defer e.mu.Unlock()
	if err := budget.ValidateAdjustment(verb, tenant, amount); err != nil {
		return budget.Adjustment{}, err
	}
	if account == nil {
		return budget.Adjustment{Outcome: budget.MissingTenant}, nil
	}
	if change < 0 && account.Remaining < amount {
		return budget.Adjustment{Outcome: budget.Insufficient, Remaining: account.Remaining, Required: amount}, nil
	}
	sum, err := account.Granted.Add(change)
	if err != nil {
		return budget.Adjustment{}, err
	}
	account.Granted = sum
	account.Remaining += change
	outcome := budget.Granted
	if change < 0 {
		outcome = budget.Withdrawn
	}
	return budget.Adjustment{Outcome: outcome, Remaining: account.Remaining}, nil
}
