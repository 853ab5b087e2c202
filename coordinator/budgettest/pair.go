package budgettest

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// pair applies the same operations to two engines with the same clock.
type pair struct {
	ctx       context.Context
	reference side
	subject   side
	clock     *clock
	able      abilities        // of both engines
	made      []budget.Instant // of the reservations that both engines made
	windowed
	given    int // number of reservations that both engines made
	done     []operation
	coverage map[string]int // number of times that each verb had each outcome
}

// side is one engine of a pair, with the IDs that it returned and their names.
type side struct {
	Subject
	ids   []budget.ReservationID
	names map[budget.ReservationID]string
}

func newPair(t testing.TB, reference, subject Factory, coverage map[string]int) *pair {
	c := newClock()
	config := Config{HoldTTL: differentialTTL, Clock: c.now}
	p := &pair{
		ctx: t.Context(), clock: c, coverage: coverage,
		reference: side{Subject: reference(t, config), names: make(map[budget.ReservationID]string)},
		subject:   side{Subject: subject(t, config), names: make(map[budget.ReservationID]string)},
	}
	p.able = p.reference.abilities().and(p.subject.abilities())
	return p
}

// perform applies one operation. An error lists all operations so far.
func (p *pair) perform(op operation) error {
	if !p.able.levels {
		op = op.withoutLevels()
	}
	if p.able.settings {
		op = op.withSettings()
	} else {
		op.setting = noSetting
	}
	if p.able.windows {
		op = op.withWindows()
	} else {
		op.windowing = windowing{}
	}
	if p.able.limits {
		op = op.withLimits()
	} else {
		op.limiting = limiting{}
	}
	p.done = append(p.done, op)
	err := p.apply(op)
	if err == nil {
		return nil
	}
	var steps strings.Builder
	for i, done := range p.done {
		fmt.Fprintf(&steps, "\n%3d. %s", i+1, done)
	}
	return fmt.Errorf("step %d: %w\nThe steps:%s", len(p.done), err, steps.String())
}

// apply performs an operation on both engines and compares the results, then the whole
// state.
func (p *pair) apply(op operation) error {
	if op.verb == verbAdvance {
		return p.advance(op)
	}
	tenant, slot := p.target(op)
	amount, err := p.amount(op, slot)
	if err != nil {
		return err
	}
	late, err := p.late(op, slot)
	if err != nil {
		return err
	}
	across, err := p.across(op, slot)
	if err != nil {
		return err
	}
	want := p.reference.call(p.ctx, op, tenant, slot, amount)
	got := p.subject.call(p.ctx, op, tenant, slot, amount)
	p.coverage[op.limitedName()+" "+want.key()]++
	p.countLimits(op, tenant, want, across)
	if late != "" {
		p.coverage[op.verb.String()+" "+want.key()+" "+late]++
	}
	if op.window.set && (op.verb == verbConfigure || op.verb == verbEnsure) {
		kind := " with a window"
		if op.window.window.Period.Rolling() {
			kind = " with a rolling window"
		}
		p.coverage[op.verb.String()+" "+want.key()+kind]++
	}
	if !p.able.levels {
		want.Level, got.Level = "", ""
	} else if want.Level != "" && want.Level != tenant {
		p.coverage[op.verb.String()+" "+want.key()+" at an ancestor"]++
	}
	if op.verb == verbLookup {
		want, got = ignoreForgotten(want, got)
	}
	if want.Prior == budget.Unknown || got.Prior == budget.Unknown {
		want.Prior, got.Prior = budget.Unknown, budget.Unknown
	}
	request := fmt.Sprintf("%s (%d microcents)", op, amount)
	if err := compareAnswers(want, got); err != nil {
		return fmt.Errorf("%s: %w", request, err)
	}
	if want.HasID {
		p.given++
		p.made = append(p.made, budget.InstantOf(p.clock.instant()))
	}
	p.quiet = false
	if err := p.compareState(); err != nil {
		return fmt.Errorf("after %s: %w", request, err)
	}
	if err := p.compareEpochs(tenant); err != nil {
		return fmt.Errorf("after %s: %w", request, err)
	}
	return nil
}

// ignoreForgotten removes the differences that Lookup may have: either engine may have forgotten
// the end of a hold, and each may record the end of an expired hold at the time at which it
// noticed it.
func ignoreForgotten(want, got answer) (answer, answer) {
	ended := func(a answer) bool { return a.Fate.Outcome != budget.Reserved }
	if ended(want) && ended(got) && (want.Outcome == budget.NotKnown || got.Outcome == budget.NotKnown) {
		return want, want
	}
	if want.Outcome == budget.Expired {
		want.Fate.At, got.Fate.At = time.Time{}, time.Time{}
	}
	return want, got
}

// fabricatedSlot stands for a reservation that was never made.
const fabricatedSlot = -1

// target returns the tenant of an operation and, for a settle or a lookup, the number of
// its reservation.
func (p *pair) target(op operation) (budget.TenantID, int) {
	if op.which == never || p.given == 0 {
		return op.tenant, fabricatedSlot
	}
	slot := p.given - 1 - op.which%p.given
	if op.verb.names() && !op.moved {
		return p.reference.ids[slot].Tenant(), slot
	}
	return op.tenant, slot
}

// amount returns the amount of an operation, relative to the reference's state. If adding
// the offset would overflow, it returns the base amount.
func (p *pair) amount(op operation, slot int) (budget.Microcents, error) {
	tenant := op.tenant
	if slot != fabricatedSlot && op.verb.names() {
		tenant = p.reference.ids[slot].Tenant()
	}
	list, err := p.reference.Engine.Holds(p.ctx, tenant)
	if err != nil {
		return 0, fmt.Errorf("the reference's holds of %q: %w", tenant, err)
	}
	var held budget.Microcents
	for _, h := range list.Holds {
		if slot != fabricatedSlot && h.ID == p.reference.ids[slot] {
			held = h.Held
		}
	}
	remaining := list.Balance.Remaining
	if op.verb == verbReserve || op.verb == verbCommit || op.verb == verbCommitAvailable || op.verb == verbConfigure && op.limits.isSet() {
		least, err := p.reference.Engine.Remaining(p.ctx, tenant)
		if err != nil {
			return 0, fmt.Errorf("the reference's remaining of %q: %w", tenant, err)
		}
		remaining = least.Remaining
	}
	var base budget.Microcents
	switch op.basis {
	case fromZero:
	case fromRemaining:
		base = remaining
	case fromHeld:
		base = held
	case fromHeldAndRemaining:
		base = held + remaining
	case fromExactFloat:
		base = exactFloat
	case fromLargest:
		base = budget.MaxMicrocents
	case fromSmallest:
		base = smallest
	case fromRoom:
		base = budget.MaxMicrocents - list.Balance.Granted
		if op.verb != verbConfigure {
			base -= list.Balance.Settings.Overdraft
		}
	case fromDebt:
		base = list.Balance.Debt()
	case fromReserved:
		base = list.Balance.Reserved
	case fromPayable:
		payable, err := p.payable(tenant)
		if err != nil {
			return 0, err
		}
		base = held + payable
	}
	sum, err := base.Add(budget.Microcents(op.offset))
	if err != nil {
		sum = base
	}
	if op.verb == verbReserve && p.able.windows {
		return p.reservable(tenant, sum)
	}
	return sum, nil
}

// payable returns the amount that a settle can spend at all levels of a tenant.
func (p *pair) payable(tenant budget.TenantID) (budget.Microcents, error) {
	least := budget.MaxMicrocents
	for ; tenant != ""; tenant = tenant.Parent() {
		all, err := p.balances(tenant)
		if err != nil {
			return 0, err
		}
		for _, b := range all {
			least = min(least, b.Remaining+b.Settings.Overdraft)
		}
	}
	if least == budget.MaxMicrocents {
		return 0, nil
	}
	return least, nil
}

// call performs an operation on the side's engine.
func (s *side) call(ctx context.Context, op operation, tenant budget.TenantID, slot int, amount budget.Microcents) answer {
	switch op.verb {
	case verbEnsure:
		res, err := s.Engine.EnsureTenant(ctx, tenant, amount, op.settings(budget.Microcents(op.offset))...)
		return answer{Outcome: res.Outcome, Remaining: res.Remaining, Err: errorName(err)}
	case verbReserve:
		return s.reserve(ctx, op, tenant, amount)
	case verbCommit:
		res, err := s.Engine.Commit(ctx, s.id(tenant, slot), amount)
		return settlementAnswer(res, err)
	case verbCommitAvailable:
		res, err := s.Engine.CommitAvailable(ctx, s.id(tenant, slot), amount)
		return settlementAnswer(res, err)
	case verbConfigure:
		return configurationAnswer(s.Engine.Configure(ctx, tenant, op.settings(amount)...))
	case verbFreeze:
		return configurationAnswer(s.Engine.FreezeTenant(ctx, tenant))
	case verbUnfreeze:
		return configurationAnswer(s.Engine.UnfreezeTenant(ctx, tenant))
	case verbClose:
		return configurationAnswer(s.Engine.CloseTenant(ctx, tenant))
	case verbRelease:
		res, err := s.Engine.Release(ctx, s.id(tenant, slot))
		return settlementAnswer(res, err)
	case verbLookup:
		res, err := s.Engine.Lookup(ctx, s.id(tenant, slot))
		return answer{Outcome: res.Outcome, Fate: res, Err: errorName(err)}
	case verbGrant:
		res, err := s.Engine.Grant(ctx, tenant, amount)
		return answer{Outcome: res.Outcome, Remaining: res.Remaining, Required: res.Required, Err: errorName(err)}
	case verbWithdraw:
		res, err := s.Engine.Withdraw(ctx, tenant, amount)
		return answer{Outcome: res.Outcome, Remaining: res.Remaining, Required: res.Required, Err: errorName(err)}
	case verbBalance:
		return s.read(ctx, op, tenant)
	case verbHolds:
		res, err := s.Engine.Holds(ctx, tenant)
		a := answer{Outcome: res.Outcome, Account: accountOf(res, s.names), Err: errorName(err)}
		if res.Outcome == budget.Found {
			if broken := auditAnswer(tenant, res); broken != nil {
				a.Err = broken.Error()
			}
		}
		return a
	case verbDelete:
		res, err := s.Engine.(levelled).DeleteTenant(ctx, tenant)
		return answer{Outcome: res.Outcome, Account: accountOf(budget.HoldList{Balance: res}, nil), Err: errorName(err)}
	case verbRemaining, verbAdvance, verbAbandon:
	}
	res, err := s.Engine.Remaining(ctx, tenant)
	return answer{Outcome: res.Outcome, Remaining: res.Remaining, Level: res.Level, Limit: res.Limit, Renews: res.Renews, Err: errorName(err)}
}

func (s *side) reserve(ctx context.Context, op operation, tenant budget.TenantID, amount budget.Microcents) answer {
	var opts []budget.ReserveOption
	if op.ttl != own {
		opts = append(opts, budget.WithHoldTTL(op.ttl))
	}
	res, err := s.Engine.TryReserve(ctx, tenant, amount, opts...)
	a := answer{
		Outcome: res.Outcome, Remaining: res.Remaining, Level: res.Level, Limit: res.Limit, Required: res.Required, Cap: res.Cap, CapLimit: res.CapLimit,
		Renews: res.Renews, HasID: !res.ID.IsZero(), Err: errorName(err),
	}
	if a.HasID {
		s.names[res.ID] = "r" + strconv.Itoa(len(s.ids))
		s.ids = append(s.ids, res.ID)
	}
	return a
}

// id returns this side's ID of a reservation, with the given tenant in place of its own.
func (s *side) id(tenant budget.TenantID, slot int) budget.ReservationID {
	if slot == fabricatedSlot {
		return fabricated(tenant)[2]
	}
	hi, lo := s.ids[slot].Bits()
	return budget.NewReservationID(tenant, hi, lo)
}

// compareState compares every account of both engines.
func (p *pair) compareState() error {
	want, err := p.reference.state(p.ctx, p.clock, p.able)
	if err != nil {
		return fmt.Errorf("reference: %w", err)
	}
	got, err := p.subject.state(p.ctx, p.clock, p.able)
	if err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	p.note(want)
	return compareAccounts(want, got)
}

// state reads a side's accounts, from its store if it has one, else from its engine. Accounts
// with windows are read from the engine: the store may have an epoch that has ended.
func (s *side) state(ctx context.Context, c *clock, able abilities) (map[budget.TenantID]account, error) {
	lists := make(map[budget.TenantID]budget.HoldList)
	if s.Stored != nil {
		stored, err := s.Stored(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the store: %w", err)
		}
		for tenant, list := range stored {
			if err := list.Audit(); err != nil {
				return nil, fmt.Errorf("tenant %q in the store: %w", tenant, err)
			}
		}
		if !able.windows {
			maps.Copy(lists, stored)
		}
	}
	if s.Stored == nil || able.windows {
		for tenant, other := range flatTenants {
			if !able.levels {
				tenant = other
			}
			list, err := s.Engine.Holds(ctx, tenant)
			if err != nil {
				return nil, fmt.Errorf("holds of %q: %w", tenant, err)
			}
			if list.Outcome == budget.MissingTenant {
				continue
			}
			if err := auditAnswer(tenant, list); err != nil {
				return nil, fmt.Errorf("tenant %q: %w", tenant, err)
			}
			lists[tenant] = list
		}
	}
	accounts := make(map[budget.TenantID]account, len(lists))
	for tenant, list := range lists {
		if s.Stored != nil && !able.windows {
			list = settleDue(list, c.now())
		}
		a := accountOf(list, s.names)
		if able.limits {
			var err error
			if a.Limits, err = s.limitsOf(ctx, tenant, list.Balance); err != nil {
				return nil, err
			}
		}
		accounts[tenant] = a
	}
	return accounts, nil
}
