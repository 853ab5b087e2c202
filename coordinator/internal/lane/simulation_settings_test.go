package lane

import (
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// The settings of accounts in a simulation.

// simClosable are the tenants that are closed: those that are deleted, and one that is not.
var simClosable = append([]budget.TenantID{"initech"}, simTemporary...)

// askForSettings makes the operation one on the account's settings.
func (s *simulation) askForSettings(op *simOp) {
	pick, change := s.random.IntN(20), budget.Change{}
	op.kind = luascripts.KindConfigure
	switch {
	case pick < 3:
		change = budget.ChangeFrozen
	case pick < 6:
		change = budget.ChangeUnfrozen
	case pick < 8 && slices.Contains(simClosable, op.tenant):
		change = budget.ChangeClosed
	case pick < 10:
		s.ensureWith(op)
		return
	default:
		change = s.someChange(op.tenant)
	}
	op.change = &change
}

func (s *simulation) ensureWith(op *simOp) {
	change := s.someChange(op.tenant)
	op.kind, op.amount, op.change = luascripts.KindEnsureWith, simBudget(op.tenant), &change
	if w := &change.Window; w.Period.Rolling() && w.Amount != 0 { // else it is not sent
		w.Amount = op.amount
	}
	change.Overdraft = min(change.Overdraft, budget.MaxMicrocents-max(op.amount, change.Window.Amount)) // else it is not sent
}

// someChange returns a change whose amounts the tenant's holds reach.
func (s *simulation) someChange(tenant budget.TenantID) budget.Change {
	unit := int64(simBudget(tenant)) / 500
	var settings []budget.Setting
	add := func(setting budget.Setting) { settings = append(settings, setting) }
	some := func(most int64) budget.Microcents {
		if s.random.IntN(4) == 0 {
			return 0
		}
		return budget.Microcents(most*unit/2 + s.random.Int64N(most*unit/2))
	}
	chosen := s.random.IntN(32)
	if s.windows && s.random.IntN(2) == 0 {
		chosen |= 1 // debt passes on
	}
	if chosen&1 != 0 {
		overdraft := some(300)
		if s.random.IntN(12) == 0 {
			overdraft = budget.MaxMicrocents - simBudget(tenant) + budget.Microcents(s.random.IntN(2))
		}
		add(budget.Overdraft(overdraft))
	}
	if chosen&2 != 0 {
		add(budget.CapHold(some(300)))
	}
	if chosen&4 != 0 {
		add(budget.CapReserved(some(600)))
	}
	if chosen&8 != 0 {
		add(budget.CapHolds(s.random.Int64N(4)))
	}
	if chosen&16 != 0 {
		var percents []int
		for _, percent := range []int{1, 25, 50, 75, 100, 125} {
			if s.random.IntN(2) == 0 {
				percents = append(percents, percent)
			}
		}
		add(budget.AtThresholds(percents...))
	}
	if s.windows && s.random.IntN(4) > 0 {
		add(budget.InWindow(s.someWindow(tenant)))
	}
	if s.limits && s.random.IntN(2) == 0 {
		settings = s.addLimits(tenant, settings)
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		s.failf("%v", err)
	}
	return change
}

// mayCharge reports whether the operation is a commit that charges this amount if it takes
// effect.
func (op *simOp) mayCharge(amount budget.Microcents) bool {
	switch {
	case op.kind == luascripts.KindCommit:
		return op.amount == amount
	case op.kind != luascripts.KindCommitAvailable:
		return false
	case op.acknowledged(budget.Committed):
		return op.answer.Actual == amount
	}
	return amount <= op.amount
}

// sets reports whether the operation makes this change.
func (op *simOp) sets(change budget.Change) bool {
	c := op.change
	return c != nil && (change.SetClosed && c.SetClosed || change.SetFrozen && c.SetFrozen && c.Frozen == change.Frozen)
}

// checkStops checks that an acknowledged freeze or close is in force, unless the account was
// unfrozen or deleted since. A node repeats one that a failover lost.
func (s *simulation) checkStops(tenant budget.TenantID) {
	if s.mode.failovers && (isTemporary(tenant) || s.isDamaged(tenant)) || s.orphaned[tenant] > 0 {
		return
	}
	account, exists := s.partitionOf(tenant).ledger.accounts[baseOf(tenant)]
	since := func(first *simOp, undoes func(*simOp) bool) bool {
		return slices.ContainsFunc(s.ops, func(op *simOp) bool {
			before := op.returned && op.until <= first.name
			unsent := op.abandoned && !op.sent
			return op.tenant == tenant && undoes(op) && !unsent && (!before || s.mode.quick)
		})
	}
	for _, op := range s.ops {
		if op.tenant != tenant || !op.acknowledged(budget.Configured) || s.mode.failovers && !op.node.alive {
			continue
		}
		if since(op, func(op *simOp) bool { return op.kind == luascripts.KindDelete }) {
			continue
		}
		if op.sets(budget.ChangeClosed) && !(exists && account.Settings.Closed) {
			s.failf("%s returned, but Redis has %+v", op, account)
		}
		unfrozen := since(op, func(op *simOp) bool { return op.sets(budget.ChangeUnfrozen) })
		if op.sets(budget.ChangeFrozen) && !unfrozen && !account.Settings.Frozen {
			s.failf("%s returned, but Redis has %+v", op, account)
		}
	}
}
