package budgettest

import (
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
)

func tenantChecks() []check {
	return []check{
		{name: "tenants of a family have separate budgets", run: tenantFamily},
		{name: "unusual ids are kept apart", run: tenantUnusual},
		{name: "invalid ids are errors", run: tenantInvalid},
	}
}

func tenantFamily(x *fixture) {
	x.open("acme/search", 100)
	expect(x, budget.Reservation{Outcome: budget.MissingTenant})(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, budget.Reservation{Outcome: budget.MissingTenant})(x.engine.TryReserve(x.ctx, "acme/search/key-7", 1))
	x.open("acme/ads", 50)
	x.open("acme/ads-2/key-7", 500)
	id := x.hold("acme/search", 80, 20)
	x.balance("acme/ads", 50, 50, 0, 0)
	x.balance("acme/ads-2/key-7", 500, 500, 0, 0)
	expect(x, insufficient(20, 60))(x.engine.TryReserve(x.ctx, "acme/search", 60))
	x.hold("acme/ads", 50, 0)
	expect(x, committed(10, 90))(x.engine.Commit(x.ctx, id, 90))
	x.balance("acme/ads", 50, 0, 50, 0)
	x.balance("acme/search", 100, 10, 0, 90)
	x.balance("acme/ads-2/key-7", 500, 500, 0, 0)
}

// unusualTenants lists valid tenants, each of which an engine with careless keys or patterns
// could confuse with another. None is an ancestor of another.
var unusualTenants = []budget.TenantID{
	"a", "A", " a", "a ", "a b", "a%", "a%20", "a%2520", "%61", "%", "%%s%d",
	"{a}", "{a", "a}", "{}", "{}a", "{a}b", "{b}a", "}{", "*", "?", "[a]", "[^b]", "a*", `\*`, `a\`,
	"a:b", "a|b", "a,b", "a.b", "a;b", "a=b", "a#b", "a~2fb", "~", "'a'", `"a"`, "`a`", "$a", "-1", "0", "1e3", "nil", "null", "false",
	"z/b", "z/c/b", "z/B", "z /b", "z/ b", "z%2fb", "z/{b}", "z/%", "1/2/3/4/6", "1/2/3/4/5/6", "1/2/3/4/5/7", "../..", ".",
	"é", "e\u0301", "日本", "東京/日本", "🦀", "𝔞", "ﬀ", "ff", "ß", "ss",
	budget.TenantID(strings.Repeat("x", budget.MaxTenantBytes)),
	budget.TenantID(strings.Repeat("x", budget.MaxTenantBytes-1) + "y"),
	budget.TenantID(strings.Repeat("%", budget.MaxTenantBytes)),
	budget.TenantID(strings.Repeat("é", budget.MaxTenantBytes/2)),
	budget.TenantID(strings.Repeat("x/", 5) + strings.Repeat("{", budget.MaxTenantBytes-10)),
}

// tenantUnusual gives every tenant different amounts, so that a hold or a balance in the wrong
// account is noticed.
func tenantUnusual(x *fixture) {
	ids := make([]budget.ReservationID, len(unusualTenants))
	own := func(i int) budget.Microcents { return budget.Microcents(i+1) * 1000 }
	for i, tenant := range unusualTenants {
		x.open(tenant, own(i))
	}
	for i, tenant := range unusualTenants {
		held := budget.Microcents(i + 1)
		ids[i] = x.hold(tenant, held, own(i)-held)
	}
	for i, tenant := range unusualTenants {
		held := budget.Microcents(i + 1)
		x.balance(tenant, own(i), own(i)-held, held, 0)
		if holds := x.holds(tenant); len(holds) != 1 || holds[0].ID != ids[i] || holds[0].Held != held {
			x.t.Fatalf("tenant %q has the holds %+v, want one of %d", tenant, holds, held)
		}
		if parsed, err := budget.ParseReservationID(ids[i].String()); err != nil || parsed != ids[i] {
			x.t.Fatalf("tenant %q: the id %s reads back as %s: %v", tenant, ids[i], parsed, err)
		}
	}
	for i := range unusualTenants {
		held := budget.Microcents(i + 1)
		if i%2 == 0 {
			expect(x, released(own(i), held))(x.engine.Release(x.ctx, ids[i]))
		} else {
			expect(x, committed(own(i)-held-1, held+1))(x.engine.Commit(x.ctx, ids[i], held+1))
		}
	}
	for i, tenant := range unusualTenants {
		spent := budget.Microcents(i%2) * budget.Microcents(i+2)
		x.balance(tenant, own(i), own(i)-spent, 0, spent)
	}
}

var invalidTenants = []budget.TenantID{
	"", "/", "/a", "a/", "a//b", "1/2/3/4/5/6/7", "a\x00b", "a\nb", "\t", "a\x7f", "a\x1b[0m",
	"a\xffb", "\xc3", "\xed\xa0\x80", "a\u0085", "a\u200bb", "a\u2028b", "a\u00a0b", "\ufeffa",
	budget.TenantID(strings.Repeat("x", budget.MaxTenantBytes+1)),
}

func tenantInvalid(x *fixture) {
	bad := budget.ErrInvalidTenant
	for _, tenant := range invalidTenants {
		what := "tenant " + string(tenant)
		refused[budget.Ensured](x, bad, what)(x.engine.EnsureTenant(x.ctx, tenant, 100))
		refused[budget.Reservation](x, bad, what)(x.engine.TryReserve(x.ctx, tenant, 1))
		refused[budget.Remainder](x, bad, what)(x.engine.Remaining(x.ctx, tenant))
		refused[budget.Balance](x, bad, what)(x.engine.Balance(x.ctx, tenant))
		refused[budget.Adjustment](x, bad, what)(x.engine.Grant(x.ctx, tenant, 1))
		refused[budget.Adjustment](x, bad, what)(x.engine.Withdraw(x.ctx, tenant, 1))
		list, err := x.engine.Holds(x.ctx, tenant)
		refused[budget.Balance](x, bad, what)(list.Balance, err)
		if list.Outcome != budget.Unknown || list.Holds != nil {
			x.t.Fatalf("%s: got the holds %+v along with the error", what, list)
		}
	}
}
