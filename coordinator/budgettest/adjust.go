package budgettest

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

func adjustChecks() []check {
	return []check{
		{name: "a grant adds", run: grantAdds},
		{name: "a grant beyond 64 bits is an error", run: grantOverflow},
		{name: "a withdrawal takes only free money", run: withdrawTakes},
		{name: "a missing tenant", run: adjustMissing},
		{name: "an amount that is not positive is an error", run: adjustNotPositive},
		{name: "exact at every edge", run: adjustExact},
	}
}

func granted(remaining budget.Microcents) budget.Adjustment {
	return budget.Adjustment{Outcome: budget.Granted, Remaining: remaining}
}

func withdrawn(remaining budget.Microcents) budget.Adjustment {
	return budget.Adjustment{Outcome: budget.Withdrawn, Remaining: remaining}
}

func lacking(remaining, required budget.Microcents) budget.Adjustment {
	return budget.Adjustment{Outcome: budget.Insufficient, Remaining: remaining, Required: required}
}

func grantAdds(x *fixture) {
	x.open("acme", 0)
	expect(x, granted(10))(x.engine.Grant(x.ctx, "acme", 10))
	id := x.hold("acme", 10, 0)
	expect(x, granted(5))(x.engine.Grant(x.ctx, "acme", 5))
	expect(x, committed(1, 14))(x.engine.Commit(x.ctx, id, 14))
	expect(x, granted(2))(x.engine.Grant(x.ctx, "acme", 1))
	x.balance("acme", 16, 2, 0, 14)
}

// grantOverflow checks that a grant is refused if granted would overflow, even if remaining
// would not: granted is the largest of the terms.
func grantOverflow(x *fixture) {
	x.open("acme", budget.MaxMicrocents-10)
	overflow := func(amount budget.Microcents) {
		x.t.Helper()
		refused[budget.Adjustment](x, budget.ErrOverflow, fmt.Sprintf("a grant of %d", amount))(x.engine.Grant(x.ctx, "acme", amount))
	}
	overflow(11)
	overflow(budget.MaxMicrocents)
	first := x.hold("acme", budget.MaxMicrocents-10, 0)
	overflow(11)
	expect(x, committed(0, budget.MaxMicrocents-10))(x.engine.Commit(x.ctx, first, budget.MaxMicrocents-10))
	overflow(11)
	expect(x, granted(10))(x.engine.Grant(x.ctx, "acme", 10))
	overflow(1)
	x.balance("acme", budget.MaxMicrocents, 10, 0, budget.MaxMicrocents-10)
}

func withdrawTakes(x *fixture) {
	x.open("acme", 100)
	x.hold("acme", 30, 70)
	spent := x.hold("acme", 20, 50)
	expect(x, committed(50, 20))(x.engine.Commit(x.ctx, spent, 20))
	expect(x, lacking(50, 51))(x.engine.Withdraw(x.ctx, "acme", 51))
	expect(x, lacking(50, budget.MaxMicrocents))(x.engine.Withdraw(x.ctx, "acme", budget.MaxMicrocents))
	x.balance("acme", 100, 50, 30, 20)
	expect(x, withdrawn(49))(x.engine.Withdraw(x.ctx, "acme", 1))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 49))
	expect(x, lacking(0, 1))(x.engine.Withdraw(x.ctx, "acme", 1))
	x.balance("acme", 50, 0, 30, 20)
	expect(x, granted(7))(x.engine.Grant(x.ctx, "acme", 7))
}

func adjustMissing(x *fixture) {
	missing := budget.Adjustment{Outcome: budget.MissingTenant}
	x.open("acme", 100)
	for _, tenant := range []budget.TenantID{"ghost", "acme/search"} {
		for _, amount := range []budget.Microcents{1, budget.MaxMicrocents} {
			expect(x, missing)(x.engine.Grant(x.ctx, tenant, amount))
			expect(x, missing)(x.engine.Withdraw(x.ctx, tenant, amount))
		}
	}
	x.balance("acme", 100, 100, 0, 0)
}

func adjustNotPositive(x *fixture) {
	x.open("acme", 100)
	for _, tenant := range []budget.TenantID{"acme", "ghost"} {
		for _, amount := range []budget.Microcents{0, -1, -exactFloat - 1, smallest} {
			what := fmt.Sprintf("%d for %q", amount, tenant)
			refused[budget.Adjustment](x, budget.ErrInvalidAmount, "a grant of "+what)(x.engine.Grant(x.ctx, tenant, amount))
			refused[budget.Adjustment](x, budget.ErrInvalidAmount, "a withdrawal of "+what)(x.engine.Withdraw(x.ctx, tenant, amount))
		}
	}
	x.balance("acme", 100, 100, 0, 0)
}

func adjustExact(x *fixture) {
	for i, edge := range edges {
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", i))
		x.open(tenant, 0)
		expect(x, granted(edge))(x.engine.Grant(x.ctx, tenant, edge))
		expect(x, withdrawn(edge-1))(x.engine.Withdraw(x.ctx, tenant, 1))
		expect(x, lacking(edge-1, edge))(x.engine.Withdraw(x.ctx, tenant, edge))
		expect(x, granted(edge))(x.engine.Grant(x.ctx, tenant, 1))
		expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, tenant, edge))
		x.balance(tenant, 0, 0, 0, 0)
	}
}
