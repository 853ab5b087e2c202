package budgettest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// mistake is a deliberate error of a naive engine in its levels or settings.
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

	ignoresFrozenAncestor   // a freeze stops only the tenant's own reserves
	ignoresClosedAncestor   // a closed account stops only its own reserves
	freezeStopsSettles      // a hold of a frozen tenant is not settled
	freezeStopsExpiry       // a hold of a frozen tenant does not expire
	closeStopsWithdrawals   // a closed account returns no money
	grantsToClosed          // a closed account accepts grants
	reopens                 // UnfreezeTenant opens a closed account
	ignoresCaps             // no cap is checked
	ignoresAncestorCaps     // only the caps of the tenant are checked
	capsTheLast             // a reserve up to a cap is refused
	capsByEnded             // ended holds count for CapHolds
	capStopsSettles         // a commit above CapHold is an Overrun
	checksLevelByLevel      // all checks at a level before the next level
	checksMoneyFirst        // Insufficient before Capped
	freezesBeforeCloses     // Frozen before Closed
	reservesOverdraft       // a reserve uses the overdraft
	overdrawsAtTenant       // the tenant's overdraft counts at all levels
	overrunsByRemaining     // an Overrun names the level with the least remaining
	refusesInDebt           // a commit without an excess is refused beyond the overdraft
	chargesShortfall        // CommitAvailable charges all of the cost
	takesBackDebt           // CommitAvailable beyond the overdraft charges less than the hold
	availableOfTenant       // CommitAvailable charges what the tenant alone can pay
	hidesDebt               // a settlement returns 0 for a negative remaining amount
	showsDebt               // Remaining and refusals return a negative amount
	grantsBeyondOverdraft   // a grant is checked without the overdraft
	configuresBeyondGranted // an overdraft is checked without the budget
	forgetsOtherSettings    // Configure resets the settings that it does not name
	configuresExisting      // EnsureTenant configures a tenant that exists
	keepsSettings           // a recreated tenant has the settings of the deleted one
	hidesSettings           // Balance returns no settings
	crossesAbove            // a threshold is crossed above its amount
	crossesOnce             // a grant does not arm a threshold again
	crossesRepeatedly       // each operation above a threshold crosses it
	crossesAtTenant         // thresholds of roots are not crossed

	firstWindowMistake // and those after it are in naive_window_test.go
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
	reached  map[budget.TenantID]budget.Thresholds // after the last operation
	events   []budget.Crossing
	left     map[budget.TenantID]budget.Settings // of deleted tenants, for keepsSettings
	past     map[budget.TenantID][]*pastEpoch    // the ended epochs that are kept, the oldest first
	rings    map[budget.TenantID]*ring           // of accounts with rolling windows
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
		reached:  make(map[budget.TenantID]budget.Thresholds),
		left:     make(map[budget.TenantID]budget.Settings),
		past:     make(map[budget.TenantID][]*pastEpoch),
		rings:    make(map[budget.TenantID]*ring),
	}
}

// naiveFactory returns a naive engine, with its own maps as its store.
func naiveFactory(_ testing.TB, c Config) Subject {
	e := newNaive(c)
	return Subject{Engine: e, Stored: e.stored, Levels: true, Settings: true, Windows: true, Limits: true, Crossings: e.crossings}
}

// begin takes the lock, ends the holds that are due, begins the present epoch of each limit of
// the tenant, and returns its account.
func (e *naive) begin(tenant budget.TenantID) (*budget.Balance, error) {
	e.mu.Lock()
	e.now = max(e.now, e.clock().UnixMilli())
	if e.mistake == rollsBeforeDue {
		e.rollOwn(tenant)
	}
	for id, h := range e.holds {
		if e.mistake == keepsDeadlineBelow && id.Tenant() != tenant || e.mistake == freezeStopsExpiry && e.frozen(id) {
			continue
		}
		if !h.Deadline.IsZero() && h.Deadline.UnixMilli()+e.grace <= e.now {
			e.end(id, 0, budget.Expired)
		}
	}
	e.rollOwn(tenant)
	return e.accounts[tenant], tenant.Validate()
}

func (e *naive) end(id budget.ReservationID, spent budget.Microcents, how budget.Outcome) {
	held := e.holds[id].Held
	for i, level := range e.touched(id, spent, how) {
		account := e.accounts[level]
		if account == nil {
			continue
		}
		if past := e.epochOf(id, level); past != nil {
			e.endLate(account, past, held, spent)
			if how == budget.Expired {
				e.arm(level)
			}
			continue
		}
		cost := e.charge(id, level, spent)
		account.Reserved -= held
		account.Committed += cost
		account.Remaining += held - cost
		if e.mistake == returnsToTenant && i > 0 && spent < held {
			account.Remaining -= held - spent
			account.Committed += held - spent
		}
		if e.mistake == surplusToBase && !isBase(level) && spent < held {
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

// levels returns the levels of a tenant that exist, from the tenant to the root, each with its
// limits.
func (e *naive) levels(tenant budget.TenantID) (levels []budget.TenantID) {
	for ; tenant != ""; tenant = tenant.Parent() {
		if e.accounts[tenant] != nil {
			levels = append(append(levels, tenant), e.limitsOf(tenant)...)
		} else if e.mistake == deletesBaseOnly {
			levels = append(levels, e.limitsOf(tenant)...)
		}
	}
	return levels
}

// set returns the levels that a hold debited.
func (e *naive) set(id budget.ReservationID) []budget.TenantID {
	if e.mistake == chargesLaterLevel {
		return e.levels(id.Tenant())
	}
	if e.mistake == endsInLaterLimits {
		return e.withLater(e.sets[id])
	}
	return e.sets[id]
}

// least returns the level with the least remaining, of equals the nearest to the tenant.
func (e *naive) least(levels []budget.TenantID) (least budget.TenantID, remaining budget.Microcents) {
	return e.leastOf(levels, func(level budget.TenantID) budget.Microcents { return e.accounts[level].Remaining })
}

func (e *naive) leastOf(levels []budget.TenantID, amount func(budget.TenantID) budget.Microcents) (least budget.TenantID, leastAmount budget.Microcents) {
	for _, level := range e.inOrder(levels) {
		if e.accounts[level] == nil {
			continue
		}
		a := amount(level)
		if least == "" || a < leastAmount || e.mistake == namesFarther && a == leastAmount {
			least, leastAmount = level, a
		}
	}
	return least, leastAmount
}

// free returns the part of a remaining amount that can be reserved or withdrawn.
func (e *naive) free(remaining budget.Microcents) budget.Microcents {
	if e.mistake == showsDebt {
		return remaining
	}
	return max(remaining, 0)
}

func (e *naive) EnsureTenant(_ context.Context, tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) (budget.Ensured, error) {
	account, _ := e.begin(tenant)
	defer e.finish()
	if err := budget.ValidateBudget(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		return budget.Ensured{}, err
	}
	if e.mistake != ensuresOther && (account == nil || e.mistake != ensuresExisting) {
		if err := change.ValidateEnsure(tenant, amount); err != nil {
			return budget.Ensured{}, err
		}
	}
	created := &budget.Balance{Outcome: budget.Found, Granted: amount, Remaining: amount, Settings: e.left[tenant]}
	if err := e.apply(tenant, created, change, true); err != nil {
		return budget.Ensured{}, err
	}
	if account != nil {
		if e.mistake == configuresExisting {
			account.Settings = change.Apply(account.Settings)
		}
		if e.mistake == ensuresLimitsOfOthers {
			return budget.Ensured{Outcome: budget.Exists, Remaining: account.Remaining}, e.ensureLimits(tenant, change, amount)
		}
		return budget.Ensured{Outcome: budget.Exists, Remaining: account.Remaining}, nil
	}
	e.accounts[tenant] = created
	e.rewind(tenant, created, budget.Window{})
	return budget.Ensured{Outcome: budget.Created, Remaining: created.Remaining}, e.ensureLimits(tenant, change, amount)
}

func (e *naive) TryReserve(_ context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	account, err := e.begin(tenant)
	defer e.finish()
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
	e.rollLevels(levels)
	if e.mistake == skipsMiddle && len(levels) > 2 {
		levels = []budget.TenantID{levels[0], levels[len(levels)-1]}
	}
	levels = e.debited(tenant, levels)
	if refusal, refused := e.refuse(tenant, levels, cost); refused {
		return refusal, nil
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
	key, remaining := e.least(levels)
	level, limit := e.name(key, reservesNameNoLimit)
	return budget.Reservation{Outcome: budget.Reserved, ID: hold.ID, Remaining: remaining, Level: level, Limit: limit}, nil
}

// insufficient returns the refusal of a cost that a level doesn't have, if any.
func (e *naive) insufficient(levels []budget.TenantID, cost budget.Microcents) budget.Reservation {
	key, remaining := e.least(levels)
	if e.mistake == skipsLimitFunds {
		key, remaining = e.least(bases(levels))
	}
	if e.mistake == refusesByFirst {
		key, remaining = e.firstWithout(levels, cost)
	}
	covered := remaining
	if e.mistake == reservesOverdraft {
		_, covered = e.payable(levels, budget.ReservationID{})
	}
	if cost <= covered {
		return budget.Reservation{}
	}
	if own := e.accounts[levels[0]]; e.mistake == debitsBeforeCheck && own.Remaining >= cost {
		own.Remaining -= cost
		own.Committed += cost
	}
	e.debitEarly(levels, cost)
	level, limit := e.name(key, refusalsNameNoLimit)
	return budget.Reservation{
		Outcome: budget.Insufficient, Remaining: e.free(remaining), Level: level, Limit: limit, Required: cost, Renews: e.renews(key),
	}
}

func (e *naive) Commit(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return e.commit(id, actual, false)
}

func (e *naive) CommitAvailable(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return e.commit(id, actual, true)
}

func (e *naive) commit(id budget.ReservationID, actual budget.Microcents, available bool) (budget.Settlement, error) {
	_, _ = e.begin(id.Tenant())
	defer e.finish()
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	h, open := e.holds[id]
	switch {
	case actual < 0:
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	case !open || e.mistake == freezeStopsSettles && e.frozen(id):
		return budget.Settlement{Outcome: budget.MissingReservation, Prior: e.ended[id].Outcome}, nil
	}
	levels, charge := e.set(id), actual
	e.rollLevels(levels)
	key, payable := e.payable(levels, id)
	switch excess := actual - h.Held; {
	case available:
		charge = min(actual, h.Held+e.pays(id, payable))
	case excess > 0 && excess > payable, e.mistake == refusesInDebt && excess > payable, e.mistake == capStopsSettles && e.capped(id, actual):
		if e.mistake == overrunsByRemaining {
			key, _ = e.least(levels)
		}
		level, limit := e.name(key, overrunsNameNoLimit)
		return budget.Settlement{Outcome: budget.Overrun, Remaining: e.accounts[key].Remaining, Level: level, Limit: limit}, nil
	}
	shown := charge
	if e.mistake == outsideCostsNothing && e.outside(id, levels[0]) {
		shown = 0
	}
	e.end(id, charge, budget.Committed)
	key, remaining := e.least(levels)
	level, limit := e.name(key, settlesNameNoLimit)
	if e.mistake == hidesDebt {
		remaining = max(remaining, 0)
	}
	return budget.Settlement{
		Outcome: budget.Committed, Remaining: remaining, Level: level, Limit: limit, Actual: shown, Shortfall: actual - charge,
	}, nil
}

func (e *naive) Release(_ context.Context, id budget.ReservationID) (budget.Settlement, error) {
	_, _ = e.begin(id.Tenant())
	defer e.finish()
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	h, open := e.holds[id]
	if !open || e.mistake == freezeStopsSettles && e.frozen(id) {
		return budget.Settlement{Outcome: budget.MissingReservation, Prior: e.ended[id].Outcome}, nil
	}
	e.rollLevels(e.set(id))
	e.end(id, 0, budget.Released)
	key, remaining := e.least(e.set(id))
	level, limit := e.name(key, settlesNameNoLimit)
	return budget.Settlement{Outcome: budget.Released, Remaining: remaining, Level: level, Limit: limit, Returned: h.Held}, nil
}

func (e *naive) Lookup(_ context.Context, id budget.ReservationID) (budget.Fate, error) {
	_, _ = e.begin(id.Tenant())
	defer e.finish()
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
	defer e.finish()
	if err != nil {
		return budget.Remainder{}, err
	}
	if account == nil {
		return budget.Remainder{Outcome: budget.MissingTenant}, nil
	}
	levels := e.levels(tenant)
	e.rollLevels(levels)
	if e.mistake == readsBaseOnly {
		levels = bases(levels)
	}
	key, remaining := e.least(levels)
	level, limit := e.name(key, readsNameNoLimit)
	return budget.Remainder{Outcome: budget.Found, Remaining: e.free(remaining), Level: level, Limit: limit, Renews: e.renews(key)}, nil
}

func (e *naive) Balance(_ context.Context, tenant budget.TenantID, opts ...budget.BalanceOption) (budget.Balance, error) {
	account, err := e.begin(tenant)
	defer e.finish()
	o, bad := budget.ApplyBalance(opts)
	if err != nil || bad != nil {
		return budget.Balance{}, errors.Join(err, bad)
	}
	if account == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	if o.Limit != budget.NoPeriod {
		return e.balanceOf(tenant, o)
	}
	if o.At != 0 {
		return e.balanceAt(tenant, o.At)
	}
	b := e.shown(account)
	if e.mistake == hidesSettings {
		b.Settings = budget.Settings{}
	}
	return b, nil
}

func (e *naive) Holds(_ context.Context, tenant budget.TenantID) (budget.HoldList, error) {
	account, err := e.begin(tenant)
	defer e.finish()
	if err != nil {
		return budget.HoldList{}, err
	}
	if account == nil {
		return budget.HoldList{Outcome: budget.MissingTenant}, nil
	}
	return e.list(tenant), nil
}

func (e *naive) list(tenant budget.TenantID) budget.HoldList {
	list := budget.HoldList{Outcome: budget.Found, Balance: e.shown(e.accounts[tenant])}
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
		if isBase(tenant) {
			all[tenant] = e.list(tenant)
		}
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
	defer e.finish()
	if err := budget.ValidateAdjustment(verb, tenant, amount); err != nil {
		return budget.Adjustment{}, err
	}
	switch {
	case account == nil:
		return budget.Adjustment{Outcome: budget.MissingTenant}, nil
	case account.Settings.Closed && (change > 0 && e.mistake != grantsToClosed || change < 0 && e.mistake == closeStopsWithdrawals):
		return budget.Adjustment{Outcome: budget.Closed}, nil
	case change < 0 && account.Remaining < amount:
		return budget.Adjustment{Outcome: budget.Insufficient, Remaining: e.free(account.Remaining), Required: amount}, nil
	}
	sum, err := account.Granted.Add(change)
	if err != nil {
		return budget.Adjustment{}, err
	}
	if e.mistake != grantsBeyondOverdraft {
		if err := e.fits(tenant, sum, account.Settings.Overdraft); err != nil {
			return budget.Adjustment{}, err
		}
	}
	account.Granted = sum
	account.Remaining += change
	if e.mistake == adjustsLimits {
		for _, key := range e.limitsOf(tenant) {
			e.accounts[key].Granted += change
			e.accounts[key].Remaining += change
		}
	}
	if e.mistake == grantsRaiseAmount && change > 0 && account.Settings.Window.Period.Rolling() {
		account.Settings.Window.Amount += change
	}
	outcome := budget.Granted
	if change < 0 {
		outcome = budget.Withdrawn
	}
	return budget.Adjustment{Outcome: outcome, Remaining: account.Remaining}, nil
}

func (e *naive) DeleteTenant(_ context.Context, tenant budget.TenantID) (budget.Balance, error) {
	account, err := e.begin(tenant)
	defer e.finish()
	if err != nil {
		return budget.Balance{}, err
	}
	if account == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	b := e.shown(account)
	open := b.Reserved+b.Ended > 0
	if e.mistake == deletesEnded {
		open = b.Reserved > 0
	}
	if e.mistake == countsOwnHolds {
		open = slices.ContainsFunc(slices.Collect(maps.Keys(e.holds)), func(id budget.ReservationID) bool { return id.Tenant() == tenant })
	}
	if open {
		b.Outcome = budget.HoldsOpen
		return b, nil
	}
	if e.mistake != keepsDeletedLimits && e.mistake != deletesBaseOnly {
		for _, key := range e.limitsOf(tenant) {
			e.forget(key)
		}
	}
	e.forget(tenant)
	if e.mistake == keepsSettings {
		e.left[tenant] = b.Settings
	}
	b.Outcome = budget.Deleted
	return b, nil
}

func (e *naive) Tree(_ context.Context, tenant budget.TenantID) (budget.Tree, error) {
	_, err := e.begin(tenant)
	defer e.finish()
	if err != nil {
		return budget.Tree{}, err
	}
	below := string(tenant) + "/"
	if e.mistake == listsByPrefix {
		below = string(tenant)
	}
	tree := budget.Tree{Outcome: budget.MissingTenant}
	names := slices.SortedFunc(slices.Values(bases(slices.Collect(maps.Keys(e.accounts)))), budget.TenantID.Compare)
	for i, name := range names {
		if e.mistake == readsTreeTwice && i == len(names)/2 {
			e.mu.Unlock()
			time.Sleep(time.Millisecond)
			e.mu.Lock()
		}
		if a := e.accounts[name]; a != nil && (name == tenant || strings.HasPrefix(string(name), below)) {
			if e.mistake != listsUnrolled {
				e.roll(name)
			}
			tree.Outcome, tree.Instant = budget.Found, true
			tree.Accounts = append(tree.Accounts, budget.Account{Tenant: name, Balance: e.shown(a)})
		}
	}
	return tree, nil
}
