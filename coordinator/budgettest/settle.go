package budgettest

import "github.com/calybris/bursar/coordinator/budget"

func settleChecks() []check {
	return []check{
		{name: "a release returns all of it", run: settleRelease},
		{name: "a second settle returns the outcome of the first", run: settleTwice},
		{name: "the last sixteen are remembered", run: settleRemembered},
		{name: "ids that no reserve returned", run: settleFabricated},
		{name: "an id under another tenant's name", run: settleMoved},
		{name: "the zero id and ids of invalid tenants are errors", run: settleInvalidIDs},
	}
}

func settleRelease(x *fixture) {
	x.open("acme", exactFloat+1)
	first, second := x.hold("acme", exactFloat, 1), x.hold("acme", 1, 0)
	expect(x, released(exactFloat, exactFloat))(x.engine.Release(x.ctx, first))
	x.balance("acme", exactFloat+1, exactFloat, 1, 0)
	expect(x, released(exactFloat+1, 1))(x.engine.Release(x.ctx, second))
	x.balance("acme", exactFloat+1, exactFloat+1, 0, 0)
}

func settleTwice(x *fixture) {
	x.open("acme", 100)
	other := x.hold("acme", 10, 90)
	first, second := x.hold("acme", 30, 60), x.hold("acme", 20, 40)
	expect(x, committed(65, 5))(x.engine.Commit(x.ctx, first, 5))
	expect(x, released(85, 20))(x.engine.Release(x.ctx, second))
	for range 2 {
		expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, first, 5))
		expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, first, budget.MaxMicrocents))
		expect(x, missing(budget.Committed))(x.engine.Release(x.ctx, first))
		expect(x, missing(budget.Released))(x.engine.Commit(x.ctx, second, 5))
		expect(x, missing(budget.Released))(x.engine.Release(x.ctx, second))
		x.balance("acme", 100, 85, 10, 5)
	}
	expect(x, released(95, 10))(x.engine.Release(x.ctx, other))
}

func settleRemembered(x *fixture) {
	const last = 16
	x.open("acme", 1000)
	var ids []budget.ReservationID
	for i := range budget.Microcents(last) {
		ids = append(ids, x.hold("acme", 10, 1000-10*i-10))
	}
	for i, id := range ids {
		if remaining := budget.Microcents(1000 - 10*last + 10*(i+1)); i%2 == 0 {
			expect(x, committed(remaining, 0))(x.engine.Commit(x.ctx, id, 0))
		} else {
			expect(x, released(remaining, 10))(x.engine.Release(x.ctx, id))
		}
	}
	for i, id := range ids {
		prior := []budget.Outcome{budget.Committed, budget.Released}[i%2]
		expect(x, missing(prior))(x.engine.Release(x.ctx, id))
	}
}

// fabricated returns IDs that no reserve returned, three per tenant: two with small bits,
// as of a counter or a slot, and one with large bits.
func fabricated(tenants ...budget.TenantID) []budget.ReservationID {
	var ids []budget.ReservationID
	for _, tenant := range tenants {
		ids = append(ids,
			budget.NewReservationID(tenant, 0, 0), budget.NewReservationID(tenant, 1, 1),
			budget.NewReservationID(tenant, 1<<63+5, 1<<64-1))
	}
	return ids
}

func settleFabricated(x *fixture) {
	x.open("acme", 100)
	open := x.hold("acme", 60, 40)
	ids := fabricated("acme", "ghost", "acme/search")
	// Neighbours of a real ID, as of a counter or of another node.
	hi, lo := open.Bits()
	for _, bits := range [][2]uint64{{hi, lo + 1}, {hi, lo - 1}, {hi + 1, lo}, {hi - 1, lo}, {lo, hi + 1}} {
		ids = append(ids, budget.NewReservationID("acme", bits[0], bits[1]))
	}
	for _, id := range ids {
		expect(x, missing(budget.Unknown))(x.engine.Commit(x.ctx, id, 0))
		expect(x, missing(budget.Unknown))(x.engine.Commit(x.ctx, id, budget.MaxMicrocents))
		expect(x, missing(budget.Unknown))(x.engine.Release(x.ctx, id))
	}
	x.balance("acme", 100, 40, 60, 0)
	expect(x, committed(40, 60))(x.engine.Commit(x.ctx, open, 60))
}

func settleMoved(x *fixture) {
	homes := []budget.TenantID{"acme", "globex/search", "globex/search-2", "initech/search/key-7"}
	ids := make(map[budget.TenantID]budget.ReservationID)
	for _, tenant := range homes {
		x.open(tenant, 100)
		ids[tenant] = x.hold(tenant, 60, 40)
	}
	for _, from := range homes {
		for _, to := range append(homes, "ghost", "acme/ghost", "globex", "globex/search/key-7") {
			if from == to {
				continue
			}
			hi, lo := ids[from].Bits()
			moved := budget.NewReservationID(to, hi, lo)
			expect(x, missing(budget.Unknown))(x.engine.Commit(x.ctx, moved, 1))
			expect(x, missing(budget.Unknown))(x.engine.Release(x.ctx, moved))
		}
	}
	for _, tenant := range homes {
		x.balance(tenant, 100, 40, 60, 0)
		expect(x, released(100, 60))(x.engine.Release(x.ctx, ids[tenant]))
	}
}

func settleInvalidIDs(x *fixture) {
	x.open("acme", 100)
	settle := func(id budget.ReservationID, want error, what string) {
		refused[budget.Settlement](x, want, what)(x.engine.Commit(x.ctx, id, 1))
		refused[budget.Settlement](x, want, what)(x.engine.Release(x.ctx, id))
	}
	settle(budget.ReservationID{}, budget.ErrInvalidReservationID, "the zero id")
	for _, tenant := range invalidTenants {
		if tenant != "" {
			settle(budget.NewReservationID(tenant, 1, 2), nil, "an id of "+string(tenant))
		}
	}
	x.balance("acme", 100, 100, 0, 0)
}
