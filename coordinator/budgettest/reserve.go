package budgettest

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

func reserveChecks() []check {
	return []check{
		{name: "a cost that is not positive is checked first", run: reserveNotPositive},
		{name: "a missing tenant", run: reserveMissingTenant},
		{name: "to the last microcent", run: reserveToTheLast},
		{name: "exact at every edge", run: reserveExact},
		{name: "every id is unique", run: reserveIDs},
		{name: "a bad time to live is an error", ttl: time.Minute, run: reserveBadTTL},
	}
}

func reserveNotPositive(x *fixture) {
	x.open("acme", 100)
	for _, tenant := range []budget.TenantID{"acme", "ghost", "acme/ghost"} {
		for _, cost := range []budget.Microcents{0, -1, -exactFloat - 1, smallest} {
			expect(x, insufficient(0, cost))(x.engine.TryReserve(x.ctx, tenant, cost))
		}
	}
	x.balance("acme", 100, 100, 0, 0)
}

func reserveMissingTenant(x *fixture) {
	x.open("acme", 100)
	for _, tenant := range []budget.TenantID{"ghost", "acme/search", "acm", "ACME"} {
		expect(x, budget.Reservation{Outcome: budget.MissingTenant})(x.engine.TryReserve(x.ctx, tenant, 1))
		expect(x, budget.Reservation{Outcome: budget.MissingTenant})(x.engine.TryReserve(x.ctx, tenant, budget.MaxMicrocents))
	}
	x.balance("acme", 100, 100, 0, 0)
}

func reserveToTheLast(x *fixture) {
	x.open("acme", 100)
	expect(x, insufficient(100, 101))(x.engine.TryReserve(x.ctx, "acme", 101))
	expect(x, insufficient(100, budget.MaxMicrocents))(x.engine.TryReserve(x.ctx, "acme", budget.MaxMicrocents))
	x.hold("acme", 99, 1)
	expect(x, insufficient(1, 2))(x.engine.TryReserve(x.ctx, "acme", 2))
	x.hold("acme", 1, 0)
	expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
	x.balance("acme", 100, 0, 100, 0)
}

func reserveExact(x *fixture) {
	for i, edge := range edges {
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", i))
		x.open(tenant, edge)
		if edge < budget.MaxMicrocents {
			expect(x, insufficient(edge, edge+1))(x.engine.TryReserve(x.ctx, tenant, edge+1))
		}
		all := x.hold(tenant, edge, 0)
		x.balance(tenant, edge, 0, edge, 0)
		expect(x, released(edge, edge))(x.engine.Release(x.ctx, all))
		one := x.hold(tenant, 1, edge-1)
		expect(x, insufficient(edge-1, edge))(x.engine.TryReserve(x.ctx, tenant, edge))
		expect(x, committed(0, edge))(x.engine.Commit(x.ctx, one, edge))
		x.balance(tenant, edge, 0, 0, edge)
	}
}

func reserveIDs(x *fixture) {
	const holds = 300
	x.open("acme/ads", holds)
	x.open("acme/search", holds)
	seen := make(map[string]bool)
	for i := range budget.Microcents(holds) {
		for _, tenant := range x.tenants {
			id := x.hold(tenant, 1, holds-i-1)
			text := id.String()
			if seen[text] {
				x.t.Fatalf("the id %s was returned twice", text)
			}
			seen[text] = true
			if parsed, err := budget.ParseReservationID(text); err != nil || parsed != id {
				x.t.Fatalf("the id %s reads back as %s: %v", text, parsed, err)
			}
		}
	}
}

func reserveBadTTL(x *fixture) {
	x.open("acme", 100)
	for _, ttl := range []time.Duration{-time.Millisecond, -1, 1, 1500 * time.Microsecond, budget.MaxHoldTTL + time.Millisecond} {
		refused[budget.Reservation](x, nil, ttl.String())(x.engine.TryReserve(x.ctx, "acme", 1, budget.WithHoldTTL(ttl)))
	}
	x.balance("acme", 100, 100, 0, 0)
}
