package budgettest

import (
	"context"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// The limits of random operations.

// limiting is the part of an operation that concerns limits.
type limiting struct {
	limits limitChange   // of verbConfigure and verbEnsure
	reads  limitRead     // of verbBalance
	period budget.Period // of a limit to read
	place  int           // of a limit among those of the tenant, for an advance to its boundary; 0 for the base limit
}

// limitChange is a list of limits to set and to remove. Their amounts are those of the templates
// and the operation's offset, or the operation's amount.
type limitChange struct {
	set, remove []budget.Period
	amount      budget.Microcents // 0 stands for the operation's amount
	overdraft   budget.Microcents
	percents    []int
	window      budget.Window // without a period and an amount
}

// isSet reports whether there is a change.
func (c limitChange) isSet() bool { return len(c.set)+len(c.remove) > 0 }

// String returns the change without the operation's amount.
func (c limitChange) String() string {
	return fmt.Sprintf("limits by %s of %d (overdraft %d, %s, carry %d, at %d %%), and none by %s",
		c.set, c.amount, c.overdraft, c.window.Zone, c.window.Carry, c.percents, c.remove)
}

// settings returns the settings that make the change.
func (c limitChange) settings(amount budget.Microcents, offset int) (settings []budget.Setting) {
	if c.amount > 0 {
		amount = max(c.amount+budget.Microcents(offset), 1)
	}
	t, err := budget.NewThresholds(c.percents...)
	if err != nil {
		panic(err)
	}
	for i, p := range c.set {
		w := budget.Window{Period: p, Amount: amount}
		if c.amount > 0 {
			w.Amount += c.amount * budget.Microcents(i)
		}
		if !p.Rolling() {
			w.Zone, w.Carry = c.window.Zone, c.window.Carry
		}
		settings = append(settings, budget.SetLimit(budget.Limit{Window: w, Overdraft: c.overdraft, Thresholds: t}))
	}
	for _, p := range c.remove {
		settings = append(settings, budget.RemoveLimit(p))
	}
	return settings
}

// limitRead is a read in place of a Balance.
type limitRead uint8

const (
	readsBase limitRead = iota
	readsLimit
	readsAll
)

var limitReadNames = [...]string{"balance", "balance of a limit", "limits"}

// unlimited is the number of templates without a change of limits, besides those with one.
const unlimited = 12

var (
	limitTemplates = append(make([]limitChange, unlimited), []limitChange{
		{set: []budget.Period{budget.Day}, amount: 700},
		{set: []budget.Period{budget.Hour, budget.Day}, amount: 300, window: budget.Window{Carry: 50}},
		{set: []budget.Period{budget.Month}, amount: 1000, window: budget.Window{Zone: "Europe/Berlin", Carry: budget.CarryAll}},
		{set: []budget.Period{budget.Last24Hours}, amount: 500, overdraft: 20},
		{set: []budget.Period{budget.Day}, remove: []budget.Period{budget.Hour}, overdraft: 100},
		{set: []budget.Period{budget.Day, budget.Month}, amount: 400, overdraft: 30, percents: []int{50, 100}},
		{remove: []budget.Period{budget.Day}},
		{set: []budget.Period{budget.Hour}, amount: 900, window: budget.Window{Carry: budget.CarryAll}},
		{set: []budget.Period{budget.Week, budget.Last7Days, budget.Last30Days}, amount: 600},
		{set: []budget.Period{budget.Day}, overdraft: budget.MaxMicrocents - 5000},
		{set: []budget.Period{budget.Hour, budget.Last24Hours}, amount: 450, remove: []budget.Period{budget.Day, budget.Month}},
		{set: []budget.Period{budget.Day, budget.Last24Hours}, amount: 200, window: budget.Window{Zone: "Asia/Kathmandu", Carry: 100}},
		{set: []budget.Period{budget.Hour, budget.Day, budget.Week, budget.Month, budget.Last7Days}, amount: 100},
		{set: []budget.Period{budget.Hour}, amount: 250, overdraft: 60},
		{set: []budget.Period{budget.Hour, budget.Day}, amount: 1, overdraft: budget.MaxMicrocents - 200}, // less than the current epoch is granted
		{remove: []budget.Period{budget.Hour, budget.Week, budget.Last7Days, budget.Last24Hours}},
	}...)
	limitReadChoices = []limitRead{readsBase, readsLimit, readsBase, readsAll, readsLimit}
	periodChoices    = []budget.Period{
		budget.Hour, budget.Day, budget.Week, budget.Month, budget.Day, budget.Last24Hours, budget.Hour, budget.Last7Days, budget.Day, budget.Last30Days,
	}
	// limitOutcomesToSee lists further outcomes, of tenants with several limits.
	limitOutcomesToSee = []string{
		"configure configured with a limit", "configure configured with a limit less", "ensure created with a limit",
		"configure error: " + budget.ErrTooManyLimits.Error(),
		"configure error: " + budget.ErrOverflow.Error() + " with a limit", "configure error: " + budget.ErrInvalidSetting.Error() + " with a limit",
		"reserve reserved by a limit", "reserve insufficient by a limit", "remaining found by a limit",
		"commit committed by a limit", "commit overrun by a limit", "release released by a limit", "commit_available committed by a limit",
		"commit_available committed with a shortfall by a limit", "commit committed in debt by a limit",
		"commit committed across a boundary of a limit", "commit overrun across a boundary of a limit",
		"release released across a boundary of a limit", "commit_available committed across a boundary of a limit",
		"limits found", "limits missing_tenant", "balance of a limit found", "balance of a limit error: " + budget.ErrNoLimit.Error(),
		"balance of a limit missing_tenant", "epoch of a limit found", "epoch of a limit error: " + budget.ErrNoEpoch.Error(),
		"epoch of a limit error: " + budget.ErrNoLimit.Error(), "advance to a boundary of a limit",
	}
	// ancestorLimitOutcomesToSee lists those of tenants whose ancestors have limits.
	ancestorLimitOutcomesToSee = []string{
		"reserve reserved by a limit at an ancestor", "reserve insufficient by a limit at an ancestor",
		"commit committed by a limit at an ancestor", "commit overrun by a limit at an ancestor",
	}
)

func decodeLimiting(first, second byte) limiting {
	return limiting{
		limits: pick(limitTemplates, first), reads: pick(limitReadChoices, second), period: pick(periodChoices, second),
		place: int(second) % (2 * budget.MaxLimits),
	}
}

// limitedName returns the name of an operation for its outcomes.
func (op operation) limitedName() string {
	if op.verb == verbBalance {
		return limitReadNames[op.reads]
	}
	return op.verb.String()
}

// chosen returns a balance of the reference for an advance to a boundary: that of the base limit,
// or of one of the others.
func (p *pair) chosen(op operation) (budget.Balance, error) {
	all, err := p.balances(op.tenant)
	if err != nil || len(all) == 0 {
		return budget.Balance{}, err
	}
	return all[op.place%len(all)], nil
}

// balances returns the reference's balances of a tenant's limits, or none if there is no tenant.
func (p *pair) balances(tenant budget.TenantID) ([]budget.Balance, error) {
	if !p.able.limits {
		b, err := p.reference.Engine.Balance(p.ctx, tenant)
		if err != nil {
			return nil, fmt.Errorf("the reference's balance of %q: %w", tenant, err)
		}
		if b.Outcome != budget.Found {
			return nil, nil
		}
		return []budget.Balance{b}, nil
	}
	list, err := p.reference.Engine.Limits(p.ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("the reference's limits of %q: %w", tenant, err)
	}
	return list.Limits, nil
}

// across reports whether an operation settles a hold that is older than the current epoch of one
// limit of its tenant, but not of all.
func (p *pair) across(op operation, slot int) (bool, error) {
	if !p.able.limits || !op.verb.settles() || slot == fabricatedSlot {
		return false, nil
	}
	all, err := p.balances(p.reference.ids[slot].Tenant())
	if err != nil {
		return false, err
	}
	older, within := false, false
	for _, b := range all {
		older = older || p.made[slot] < b.Epoch.Start
		within = within || p.made[slot] >= b.Epoch.Start
	}
	return older && within, nil
}

// countLimits counts an outcome in which limits had a part.
func (p *pair) countLimits(op operation, tenant budget.TenantID, want answer, across bool) {
	if !p.able.limits {
		return
	}
	key := op.verb.String() + " " + want.key()
	if want.Limit != budget.NoPeriod {
		p.coverage[key+" by a limit"]++
		if p.able.levels && want.Level != tenant {
			p.coverage[key+" by a limit at an ancestor"]++
		}
	}
	if across {
		p.coverage[key+" across a boundary of a limit"]++
	}
	if op.verb != verbConfigure && op.verb != verbEnsure {
		return
	}
	if len(op.limits.set) > 0 {
		p.coverage[key+" with a limit"]++
	}
	if len(op.limits.remove) > 0 {
		p.coverage[key+" with a limit less"]++
	}
}

// read performs a verbBalance.
func (s *side) read(ctx context.Context, op operation, tenant budget.TenantID) answer {
	opts := []budget.BalanceOption{budget.OfLimit(op.period)}
	switch op.reads {
	case readsAll:
		res, err := s.Engine.Limits(ctx, tenant)
		return answer{Outcome: res.Outcome, Limits: limitsOfList(res), Err: errorName(err)}
	case readsBase:
		opts = nil
	case readsLimit:
	}
	res, err := s.Engine.Balance(ctx, tenant, opts...)
	return answer{Outcome: res.Outcome, Limit: res.Limit, Account: accountOf(budget.HoldList{Balance: res}, nil), Err: errorName(err)}
}

// limitsOfList returns the limits of a list by their periods.
func limitsOfList(list budget.LimitList) map[budget.Period]account {
	limits := make(map[budget.Period]account, len(list.Limits))
	for _, b := range list.Limits {
		limits[b.Limit] = accountOf(budget.HoldList{Balance: b}, nil)
	}
	return limits
}

// limitsOf reads a tenant's limits beside the base limit, and audits all.
func (s *side) limitsOf(ctx context.Context, tenant budget.TenantID, base budget.Balance) (map[budget.Period]account, error) {
	list, err := s.Engine.Limits(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("limits of %q: %w", tenant, err)
	}
	if len(list.Limits) == 0 || list.Limits[0] != base {
		return nil, fmt.Errorf("tenant %q: the limits are %+v, but the balance is %+v", tenant, list, base)
	}
	if err := auditList(list); err != nil {
		return nil, fmt.Errorf("tenant %q: %w", tenant, err)
	}
	if len(list.Limits) == 1 {
		return nil, nil
	}
	limits := limitsOfList(list)
	delete(limits, budget.NoPeriod)
	return limits, nil
}

// limit gives a tenant limits at the beginning of a case.
func (p *pair) limit(tenant budget.TenantID, op operation, perform func(operation)) {
	if !op.limits.isSet() {
		return
	}
	op.verb, op.instead, op.tenant, op.toward = verbConfigure, sameVerb, tenant, nowhere
	perform(op)
}

// withLimits returns the operation for engines whose limits are checked: every other change of limits
// changes nothing else.
func (op operation) withLimits() operation {
	if op.verb == verbConfigure && op.limits.isSet() && op.place%2 == 0 {
		op.window, op.setting = windowChange{}, noSetting
	}
	return op
}
