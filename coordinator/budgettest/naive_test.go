package budgettest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// mistake is a deliberate error of a naive engine in its levels.
type mistake uint8

const (
	none               mistake = iota
	skipsMiddle                // a reserve debits only the tenant and the farthest level
	debitsBeforeCheck          // a reserve debits the tenant before it checks its ancestors
	returnsToTenant            // a surplus returns to the tenant only
	namesFarther               // of equal levels, the farther is named
	chargesLaterLevel          // a hold's end touches the levels that exist by then
	keepsDeadlineBelow         // an operation ends only the due holds of its own tenant
	countsOwnHolds             // a level is deleted if only tenants below it have open holds
	listsByPrefix              // a tree has all tenants whose names begin alike
	readsTreeTwice             // the two halves of a tree are of two instants
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
	sets     map[budget.ReservationID][]budget.TenantID // the levels that a hold debited
	ended    map[budget.ReservationID]budget.Fate
	mistake  mistake
}

func newNaive(c Config) *naive {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &naive{
		ttl: c.HoldTTL, clock: c.Clock,
		accounts: make(map[budget.TenantID]*budget.Balance),
		holds:    make(map[budget.ReservationID]budget.Hold),
		sets:     make(map[budget.ReservationID][]budget.TenantID),
		ended:    make(map[budget.ReservationID]budget.Fate),
	}
}

// naiveFactory returns a naive engine, with its own maps as its store.
func naiveFactory(_ testing.TB, c Config) Subject {
	e := newNaive(c)
	return Subject{Engine: e, Stored: e.stored, Levels: true}
}

// begin takes the lock, ends the holds that are due and returns the tenant's account.
func (e *naive) begin(tenant budget.TenantID) (*budget.Balance, error) {
	e.mu.Lock()
	e.now = max(e.now, e.clock().UnixMilli())
	for id, h := range e.holds {
		if e.mistake == keepsDeadlineBelow && id.Tenant() != tenant {
			continue
		}
		if !h.Deadline.IsZero() && h.Deadline.UnixMilli()+e.grace <= e.now {
			e.end(id, 0, budget.Expired)
		}
	}
	return e.accounts[tenant], tenant.Validate()
}

func (e *naive) end(id budget.ReservationID, spent budget.Microcents, how budget.Outcome) {
	held := e.holds[id].Held
	for i, level := range e.set(id) {
		account := e.accounts[level]
		if account == nil {
			continue
		}
		account.Reserved -= held
		account.Committed += spent
		account.Remaining += held - spent
		if e.mistake == returnsToTenant && i > 0 && spent < held {
			account.Remaining -= held - spent
			account.Committed += held - spent
		}
	}
	delete(e.holds, id)
	amount := held
	if how == budget.Committed {
		amount = spent
	}
	e.ended[id] = budget.Fate{Outcome: how, Amount: amount, At: time.UnixMilli(e.now).UTC()}
}

// levels returns the levels of a tenant that exist, from the tenant to the root.
func (e *naive) levels(tenant budget.TenantID) (levels []budget.TenantID) {
	for ; tenant != ""; tenant = tenant.Parent() {
		if e.accounts[tenant] != nil {
			levels = append(levels, tenant)
		}
	}
	return levels
}

// set returns the levels that a hold debited.
func (e *naive) set(id budget.ReservationID) []budget.TenantID {
	if e.mistake == chargesLaterLevel {
		return e.levels(id.Tenant())
	}
	return e.sets[id]
}

// least returns the level with the least remaining, of equals the nearest to the tenant.
func (e *naive) least(levels []budget.TenantID) (least budget.TenantID, remaining budget.Microcents) {
	for _, level := range levels {
		if e.accounts[level] == nil {
			continue
		}
		r := e.accounts[level].Remaining
		if least == "" || r < remaining || e.mistake == namesFarther && r == remaining {
			least, remaining = level, r
		}
	}
	return least, remaining
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
	}
	levels := e.levels(tenant)
	if e.mistake == skipsMiddle && len(levels) > 2 {
		levels = []budget.TenantID{levels[0], levels[len(levels)-1]}
	}
	level, remaining := e.least(levels)
	if remaining < cost {
		if e.mistake == debitsBeforeCheck && e.accounts[tenant].Remaining >= cost {
			e.accounts[tenant].Remaining -= cost
			e.accounts[tenant].Committed += cost
		}
		return budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Level: level, Required: cost}, nil
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
	e.holds[hold.ID], e.sets[hold.ID] = hold, levels
	for _, level := range levels {
		e.accounts[level].Remaining -= cost
		e.accounts[level].Reserved += cost
	}
	level, remaining = e.least(levels)
	return budget.Reservation{Outcome: budget.Reserved, ID: hold.ID, Remaining: remaining, Level: level}, nil
}

func (e *naive) Commit(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	_, _ = e.begin(id.Tenant())
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
	}
	levels := e.set(id)
	if level, remaining := e.least(levels); actual-h.Held > remaining {
		return budget.Settlement{Outcome: budget.Overrun, Remaining: remaining, Level: level}, nil
	}
	e.end(id, actual, budget.Committed)
	level, remaining := e.least(levels)
	return budget.Settlement{Outcome: budget.Committed, Remaining: remaining, Level: level, Actual: actual}, nil
}

func (e *naive) Release(_ context.Context, id budget.ReservationID) (budget.Settlement, error) {
	_, _ = e.begin(id.Tenant())
	defer e.mu.Unlock()
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	h, open := e.holds[id]
	if !open {
		return budget.Settlement{Outcome: budget.MissingReservation, Prior: e.ended[id].Outcome}, nil
	}
	e.end(id, 0, budget.Released)
	level, remaining := e.least(e.set(id))
	return budget.Settlement{Outcome: budget.Released, Remaining: remaining, Level: level, Returned: h.Held}, nil
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

func (e *naive) Remaining(_ context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	account, err := e.begin(tenant)
	defer e.mu.Unlock()
	if err != nil {
		return budget.Remainder{}, err
	}
	if account == nil {
		return budget.Remainder{Outcome: budget.MissingTenant}, nil
	}
	level, remaining := e.least(e.levels(tenant))
	return budget.Remainder{Outcome: budget.Found, Remaining: remaining, Level: level}, nil
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
		if slices.Contains(e.set(id), tenant) {
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

func (e *naive) DeleteTenant(_ context.Context, tenant budget.TenantID) (budget.Balance, error) {
	account, err := e.begin(tenant)
	defer e.mu.Unlock()
	if err != nil {
		return budget.Balance{}, err
	}
	if account == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	b := *account
	open := b.Reserved > 0
	if e.mistake == countsOwnHolds {
		open = slices.ContainsFunc(slices.Collect(maps.Keys(e.holds)), func(id budget.ReservationID) bool { return id.Tenant() == tenant })
	}
	if open {
		b.Outcome = budget.HoldsOpen
		return b, nil
	}
	delete(e.accounts, tenant)
	b.Outcome = budget.Deleted
	return b, nil
}

func (e *naive) Tree(_ context.Context, tenant budget.TenantID) (budget.Tree, error) {
	_, err := e.begin(tenant)
	defer e.mu.Unlock()
	if err != nil {
		return budget.Tree{}, err
	}
	below := string(tenant) + "/"
	if e.mistake == listsByPrefix {
		below = string(tenant)
	}
	tree := budget.Tree{Outcome: budget.MissingTenant}
	names := slices.SortedFunc(maps.Keys(e.accounts), budget.TenantID.Compare)
	for i, name := range names {
		if e.mistake == readsTreeTwice && i == len(names)/2 {
			e.mu.Unlock()
			time.Sleep(time.Millisecond)
			e.mu.Lock()
		}
		if a := e.accounts[name]; a != nil && (name == tenant || strings.HasPrefix(string(name), below)) {
			tree.Outcome, tree.Instant = budget.Found, true
			tree.Accounts = append(tree.Accounts, budget.Account{Tenant: name, Balance: *a})
		}
	}
	return tree, nil
}
