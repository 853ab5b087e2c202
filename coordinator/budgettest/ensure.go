package budgettest

import "github.com/calybris/bursar/coordinator/budget"

func ensureChecks() []check {
	return []check{
		{name: "creates once", run: ensureCreatesOnce},
		{name: "zero is a budget", run: ensureZero},
		{name: "the largest budget", run: ensureLargest},
		{name: "a negative budget is an error", run: ensureNegative},
	}
}

func ensureCreatesOnce(x *fixture) {
	x.open("acme", 100)
	exists := func(remaining budget.Microcents) budget.Ensured {
		return budget.Ensured{Outcome: budget.Exists, Remaining: remaining}
	}
	for _, amount := range []budget.Microcents{100, 0, 1, budget.MaxMicrocents} {
		expect(x, exists(100))(x.engine.EnsureTenant(x.ctx, "acme", amount))
	}
	x.balance("acme", 100, 100, 0, 0)
	id := x.hold("acme", 30, 70)
	expect(x, exists(70))(x.engine.EnsureTenant(x.ctx, "acme", 100))
	expect(x, committed(75, 25))(x.engine.Commit(x.ctx, id, 25))
	expect(x, exists(75))(x.engine.EnsureTenant(x.ctx, "acme", 7))
	x.balance("acme", 100, 75, 0, 25)
}

func ensureZero(x *fixture) {
	x.open("acme", 0)
	x.balance("acme", 0, 0, 0, 0)
	expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, budget.Ensured{Outcome: budget.Exists})(x.engine.EnsureTenant(x.ctx, "acme", 5))
	x.balance("acme", 0, 0, 0, 0)
}

func ensureLargest(x *fixture) {
	x.open("acme", budget.MaxMicrocents)
	x.balance("acme", budget.MaxMicrocents, budget.MaxMicrocents, 0, 0)
}

func ensureNegative(x *fixture) {
	x.open("acme", 5)
	for _, tenant := range []budget.TenantID{"acme", "ghost"} {
		for _, amount := range []budget.Microcents{-1, -1 << 53, smallest} {
			refused[budget.Ensured](x, budget.ErrInvalidAmount, "a negative budget")(x.engine.EnsureTenant(x.ctx, tenant, amount))
		}
	}
	x.balance("acme", 5, 5, 0, 0)
	expect(x, budget.Remainder{Outcome: budget.MissingTenant})(x.engine.Remaining(x.ctx, "ghost"))
}
