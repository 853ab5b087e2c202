package budgettest

import (
	"fmt"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// settingChecks are the checks of account settings. Those with levels use the tenants of
// levelChecks.
func settingChecks() []check {
	return slices.Concat(configureChecks(), refusalChecks(), overdraftChecks(), thresholdChecks(), concurrentSettingChecks())
}

func configureChecks() []check {
	return []check{
		{name: "a change keeps the settings that it does not name", run: configureNamed},
		{name: "settings of a new tenant", run: configureEnsured},
		{name: "invalid values are errors", run: configureInvalid},
		{name: "an overdraft and a budget beyond 64 bits are an error", run: configureOverflow},
		{name: "a missing tenant has no settings", run: configureMissing},
		{name: "settings are read with the balance", ttl: holdTTL, levels: true, run: configureRead},
		{name: "a recreated tenant has no settings", levels: true, run: configureRecreated},
	}
}

func configured(s budget.Settings) budget.Configuration {
	return budget.Configuration{Outcome: budget.Configured, Settings: s}
}

var (
	closedTenant  = budget.Configuration{Outcome: budget.Closed}
	missingTenant = budget.Configuration{Outcome: budget.MissingTenant}
)

func closedAt(level budget.TenantID) budget.Reservation {
	return budget.Reservation{Outcome: budget.Closed, Level: level}
}

func frozenAt(level budget.TenantID) budget.Reservation {
	return budget.Reservation{Outcome: budget.Frozen, Level: level}
}

func cappedAt(level budget.TenantID, by budget.Cap, limit int64) budget.Reservation {
	return budget.Reservation{Outcome: budget.Capped, Level: level, Cap: by, CapLimit: limit}
}

// configure changes settings, checks the result, and remembers the settings for balance.
func (x *fixture) configure(tenant budget.TenantID, settings ...budget.Setting) {
	x.t.Helper()
	change, err := budget.NewChange(settings...)
	if err != nil {
		x.t.Fatal(err)
	}
	x.changed(tenant, change)(x.engine.Configure(x.ctx, tenant, settings...))
}

func (x *fixture) freeze(tenant budget.TenantID) {
	x.t.Helper()
	x.changed(tenant, budget.ChangeFrozen)(x.engine.FreezeTenant(x.ctx, tenant))
}

func (x *fixture) unfreeze(tenant budget.TenantID) {
	x.t.Helper()
	x.changed(tenant, budget.ChangeUnfrozen)(x.engine.UnfreezeTenant(x.ctx, tenant))
}

func (x *fixture) close(tenant budget.TenantID) {
	x.t.Helper()
	x.changed(tenant, budget.ChangeClosed)(x.engine.CloseTenant(x.ctx, tenant))
}

func (x *fixture) changed(tenant budget.TenantID, change budget.Change) func(budget.Configuration, error) {
	x.settings[tenant] = x.after(tenant, x.settings[tenant], change)
	return expect(x, configured(x.settings[tenant]))
}

// thresholds returns a valid list.
func thresholds(percents ...int) budget.Thresholds {
	t, err := budget.NewThresholds(percents...)
	if err != nil {
		panic(err)
	}
	return t
}

// configureNamed sets each setting, changes some of them, and removes each, and writes out the
// settings that must result.
func configureNamed(x *fixture) {
	x.open("acme", 100)
	for _, step := range []struct {
		settings []budget.Setting
		want     budget.Settings
	}{
		{nil, budget.Settings{}},
		{[]budget.Setting{budget.Overdraft(7)}, budget.Settings{Overdraft: 7}},
		{[]budget.Setting{budget.CapHolds(3)}, budget.Settings{Overdraft: 7, CapHolds: 3}},
		{[]budget.Setting{budget.AtThresholds(50, 100)}, budget.Settings{Overdraft: 7, CapHolds: 3, Thresholds: thresholds(50, 100)}},
		{[]budget.Setting{budget.CapHold(9), budget.CapReserved(20)}, budget.Settings{
			Overdraft: 7, CapHold: 9, CapReserved: 20, CapHolds: 3, Thresholds: thresholds(50, 100),
		}},
		{nil, budget.Settings{Overdraft: 7, CapHold: 9, CapReserved: 20, CapHolds: 3, Thresholds: thresholds(50, 100)}},
		{[]budget.Setting{budget.Overdraft(5), budget.Overdraft(8), budget.AtThresholds(80)}, budget.Settings{ // the last of two counts
			Overdraft: 8, CapHold: 9, CapReserved: 20, CapHolds: 3, Thresholds: thresholds(80),
		}},
		{[]budget.Setting{budget.CapHold(0), budget.AtThresholds()}, budget.Settings{Overdraft: 8, CapReserved: 20, CapHolds: 3}},
		{[]budget.Setting{budget.Overdraft(0), budget.CapReserved(0)}, budget.Settings{CapHolds: 3}},
		{[]budget.Setting{budget.CapHolds(0)}, budget.Settings{}},
	} {
		for range 2 {
			expect(x, configured(step.want))(x.engine.Configure(x.ctx, "acme", step.settings...))
			x.settings["acme"] = step.want
			x.balance("acme", 100, 100, 0, 0)
		}
	}
	x.configure("acme", budget.Overdraft(7), budget.CapHolds(3), budget.AtThresholds(50, 100))
	x.freeze("acme")
	x.freeze("acme")
	x.configure("acme", budget.CapReserved(20))
	x.balance("acme", 100, 100, 0, 0)
	x.unfreeze("acme")
	x.unfreeze("acme")
	x.balance("acme", 100, 100, 0, 0)
	x.close("acme")
	x.close("acme")
	x.balance("acme", 100, 100, 0, 0)
}

func configureEnsured(x *fixture) {
	all := []budget.Setting{
		budget.Overdraft(7), budget.CapHold(9), budget.CapReserved(20), budget.CapHolds(3), budget.AtThresholds(1, 50, budget.MaxThreshold),
	}
	x.open("acme", 100, all...)
	x.settings["acme"] = budget.Settings{
		Overdraft: 7, CapHold: 9, CapReserved: 20, CapHolds: 3, Thresholds: thresholds(1, 50, budget.MaxThreshold),
	}
	x.balance("acme", 100, 100, 0, 0)
	exists := expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 100})
	exists(x.engine.EnsureTenant(x.ctx, "acme", 5))
	exists(x.engine.EnsureTenant(x.ctx, "acme", 5, budget.Overdraft(1), budget.CapHolds(0), budget.AtThresholds(2)))
	x.balance("acme", 100, 100, 0, 0)
	x.open("globex", 100)
	exists(x.engine.EnsureTenant(x.ctx, "globex", 100, all...))
	x.balance("globex", 100, 100, 0, 0)
	expect(x, committed(93, 7))(x.engine.Commit(x.ctx, x.hold("globex", 1, 99), 7))
	x.freeze("globex")
	expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 93})(x.engine.EnsureTenant(x.ctx, "globex", 100, all...))
	x.close("globex")
	expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 93})(x.engine.EnsureTenant(x.ctx, "globex", 100, all...))
	x.balance("globex", 100, 93, 0, 7)
}

// invalidSettings lists settings with values that no account can have.
var invalidSettings = map[string][]budget.Setting{
	"an overdraft of -1":            {budget.Overdraft(-1)},
	"the least overdraft":           {budget.Overdraft(smallest)},
	"a cap of a hold of -1":         {budget.CapHold(-1)},
	"a cap of reserved of -1":       {budget.CapReserved(-1)},
	"a cap of -1 holds":             {budget.CapHolds(-1)},
	"a cap of 2^32 holds":           {budget.CapHolds(budget.MaxCapHolds + 1)},
	"a cap of 2^63-1 holds":         {budget.CapHolds(int64(budget.MaxMicrocents))},
	"17 thresholds":                 {budget.AtThresholds(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)},
	"unsorted thresholds":           {budget.AtThresholds(50, 100, 80)},
	"equal thresholds":              {budget.AtThresholds(50, 50)},
	"a threshold of 0":              {budget.AtThresholds(0)},
	"a threshold of 0 before 50":    {budget.AtThresholds(0, 50)},
	"a threshold of -1":             {budget.AtThresholds(-1)},
	"a threshold of 1001":           {budget.AtThresholds(100, budget.MaxThreshold+1)},
	"a threshold of 2^16+1":         {budget.AtThresholds(1<<16 + 1)},
	"a zero setting":                {budget.Setting{}},
	"a zero setting after a valid":  {budget.Overdraft(1), {}},
	"a valid setting and a bad one": {budget.Overdraft(1), budget.CapHolds(-1), budget.CapHold(1)},
}

func configureInvalid(x *fixture) {
	x.open("acme", 100, budget.Overdraft(7))
	x.open("globex", 100)
	x.close("globex")
	for what, settings := range invalidSettings {
		for _, tenant := range []budget.TenantID{"acme", "globex", "ghost"} {
			refused[budget.Configuration](x, budget.ErrInvalidSetting, what)(x.engine.Configure(x.ctx, tenant, settings...))
			refused[budget.Ensured](x, budget.ErrInvalidSetting, what)(x.engine.EnsureTenant(x.ctx, tenant, 100, settings...))
		}
	}
	x.balance("acme", 100, 100, 0, 0)
	x.balance("globex", 100, 100, 0, 0)
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost"))
	most := make([]int, budget.MaxThresholds)
	for i := range most {
		most[i] = i + 1
	}
	most[len(most)-1] = budget.MaxThreshold
	for _, valid := range []budget.Setting{
		budget.AtThresholds(most...), budget.CapHolds(budget.MaxCapHolds), budget.CapHold(budget.MaxMicrocents),
		budget.CapReserved(budget.MaxMicrocents), budget.Overdraft(budget.MaxMicrocents - 100),
	} {
		x.configure("acme", valid)
	}
	x.balance("acme", 100, 100, 0, 0)
	x.hold("acme", 100, 0)
}

// configureOverflow checks at the edge that a budget and an overdraft fit 64 bits together,
// even if remaining and the overdraft do.
func configureOverflow(x *fixture) {
	beyond := func(overdraft budget.Microcents) {
		x.t.Helper()
		what := fmt.Sprintf("an overdraft of %d", overdraft)
		refused[budget.Configuration](x, budget.ErrOverflow, what)(x.engine.Configure(x.ctx, "acme", budget.Overdraft(overdraft), budget.CapHolds(1)))
	}
	x.open("acme", 100)
	beyond(budget.MaxMicrocents)
	beyond(budget.MaxMicrocents - 99)
	x.configure("acme", budget.Overdraft(budget.MaxMicrocents-100))
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", 1))
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", budget.MaxMicrocents))
	x.configure("acme", budget.Overdraft(budget.MaxMicrocents-110))
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", 11))
	expect(x, granted(110))(x.engine.Grant(x.ctx, "acme", 10))
	beyond(budget.MaxMicrocents - 109)
	id := x.hold("acme", 100, 10)
	expect(x, committed(10, 100))(x.engine.Commit(x.ctx, id, 100))
	beyond(budget.MaxMicrocents - 109)
	expect(x, withdrawn(9))(x.engine.Withdraw(x.ctx, "acme", 1))
	x.configure("acme", budget.Overdraft(budget.MaxMicrocents-109))
	x.balance("acme", 109, 9, 0, 100)

	refused[budget.Ensured](x, budget.ErrOverflow, "a budget and an overdraft")(x.engine.EnsureTenant(x.ctx, "globex", budget.MaxMicrocents, budget.Overdraft(1)))
	refused[budget.Ensured](x, budget.ErrOverflow, "a budget and an overdraft")(x.engine.EnsureTenant(x.ctx, "globex", 1, budget.Overdraft(budget.MaxMicrocents)))
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "globex"))
	x.open("globex", budget.MaxMicrocents-1, budget.Overdraft(1))
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "globex", 1))
	x.open("initech", budget.MaxMicrocents, budget.Overdraft(0))
	x.balance("globex", budget.MaxMicrocents-1, budget.MaxMicrocents-1, 0, 0)
}

// settingCalls are the operations that change settings.
var settingCalls = map[string]func(x *fixture, tenant budget.TenantID) (budget.Configuration, error){
	"configure": func(x *fixture, tenant budget.TenantID) (budget.Configuration, error) {
		return x.engine.Configure(x.ctx, tenant, budget.Overdraft(1))
	},
	"configure nothing": func(x *fixture, tenant budget.TenantID) (budget.Configuration, error) {
		return x.engine.Configure(x.ctx, tenant)
	},
	"configure beyond 64 bits": func(x *fixture, tenant budget.TenantID) (budget.Configuration, error) {
		return x.engine.Configure(x.ctx, tenant, budget.Overdraft(budget.MaxMicrocents))
	},
	"freeze": func(x *fixture, tenant budget.TenantID) (budget.Configuration, error) {
		return x.engine.FreezeTenant(x.ctx, tenant)
	},
	"unfreeze": func(x *fixture, tenant budget.TenantID) (budget.Configuration, error) {
		return x.engine.UnfreezeTenant(x.ctx, tenant)
	},
	"close": func(x *fixture, tenant budget.TenantID) (budget.Configuration, error) {
		return x.engine.CloseTenant(x.ctx, tenant)
	},
}

func configureMissing(x *fixture) {
	x.open("acme", 100)
	for what, call := range settingCalls {
		for _, tenant := range []budget.TenantID{"ghost", "acme/search"} {
			expect(x, missingTenant)(call(x, tenant))
		}
		for _, tenant := range invalidTenants {
			refused[budget.Configuration](x, budget.ErrInvalidTenant, what+" of "+string(tenant))(call(x, tenant))
		}
	}
	x.balance("acme", 100, 100, 0, 0)
}

// configureRead reads the settings with every operation that returns a balance.
func configureRead(x *fixture) {
	x.open(root, 100, budget.Overdraft(7), budget.AtThresholds(50, 80))
	x.open(middle, 100)
	x.open(leaf, 100, budget.CapHolds(3))
	x.open(aside, 100)
	x.freeze(aside)
	x.holdAt(leaf, 10, 90, leaf)
	for _, tenant := range x.tenants {
		list, err := x.engine.Holds(x.ctx, tenant)
		if err != nil || list.Balance.Settings != x.settings[tenant] {
			x.t.Fatalf("the holds of %q have the balance %+v, %v; want the settings %+v", tenant, list.Balance, err, x.settings[tenant])
		}
	}
	x.balance(root, 100, 90, 10, 0)
	x.balance(middle, 100, 90, 10, 0)
	x.balance(leaf, 100, 90, 10, 0)
	x.balance(aside, 100, 100, 0, 0)
	x.treeOf(root, root, aside, middle, leaf)
	for _, tenant := range []budget.TenantID{root, middle, leaf} {
		want := budget.Balance{Outcome: budget.HoldsOpen, Granted: 100, Remaining: 90, Reserved: 10, Settings: x.settings[tenant]}
		expect(x, want)(x.delete(tenant))
	}
	x.advance(holdTTL)
	for _, tenant := range slices.Clone(x.tenants) {
		want := budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 100, Settings: x.settings[tenant]}
		expect(x, want)(x.delete(tenant))
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.delete(tenant))
	}
}

func configureRecreated(x *fixture) {
	for _, tenant := range []budget.TenantID{leaf, middle, root} {
		x.open(tenant, 100)
		x.configure(tenant, budget.Overdraft(7), budget.CapHold(1), budget.CapReserved(1), budget.CapHolds(1), budget.AtThresholds(1))
		x.freeze(tenant)
		x.close(tenant)
		want := budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 100, Settings: x.settings[tenant]}
		expect(x, want)(x.delete(tenant))
		x.open(tenant, 100)
		x.balance(tenant, 100, 100, 0, 0)
	}
	x.holdAt(leaf, 40, 60, leaf)
	id := x.holdAt(leaf, 40, 20, leaf)
	expect(x, settlementAt(overrun(20), leaf))(x.engine.Commit(x.ctx, id, 61))
	expect(x, granted(21))(x.engine.Grant(x.ctx, leaf, 1))
}
