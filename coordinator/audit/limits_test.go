package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// limitScene is a windowScene in which acme also has limits of 500 by the hour and of 900 for the
// last 24 hours, with a hold of 10 in the current epoch and in the one before, and 3 committed.
type limitScene struct {
	*windowScene
	hour, rolling store.AccountID
}

func newLimitScene(t *testing.T) limitScene {
	t.Helper()
	w := newWindowScene(t)
	for limit, amount := range map[budget.Period]budget.Microcents{budget.Hour: 500, budget.Last24Hours: 900} {
		w.configure("acme", budget.SetLimit(budget.Limit{Window: budget.Window{Period: limit, Amount: amount}}))
	}
	do(t, w.engine, luascripts.KindCommit, "acme", 3, reserve(t, w.engine, "acme", 0))
	reserve(t, w.engine, "acme/search", 0)
	w.clock.Add(time.Hour.Milliseconds())
	reserve(t, w.engine, "acme/search", 0)
	return limitScene{w, store.AccountID{Tenant: "acme", Limit: budget.Hour}, store.AccountID{Tenant: "acme", Limit: budget.Last24Hours}}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newLimitScene(t)
	list, err := audit.Limits(t.Context(), s.client, "bursar", "acme")
	if err != nil || list.Outcome != budget.Found || len(list.Limits) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	base, hour, rolling := list.Limits[0], list.Limits[1], list.Limits[2]
	if base.Limit != budget.NoPeriod || base.Settings.Limits != budget.Periods(0).With(budget.Hour).With(budget.Last24Hours) {
		t.Errorf("base limit %+v", base)
	}
	if hour.Limit != budget.Hour || hour.Reserved != 10 || hour.Ended != 10 || hour.Committed != 0 || hour.Granted != 500 || hour.Epoch == (budget.Epoch{}) {
		t.Errorf("by the hour %+v", hour)
	}
	if rolling.Limit != budget.Last24Hours || rolling.Reserved != 20 || rolling.Committed != 3 || rolling.Remaining != 877 {
		t.Errorf("of 24 hours %+v", rolling)
	}
	returns, err := audit.LimitReturns(t.Context(), s.client, "bursar", "acme")
	if got := returns[budget.Last24Hours]; err != nil || len(returns) != 1 || len(got) != 1 || got[0].Amount != 3 {
		t.Errorf("%+v, %v", returns, err)
	}

	// Other readings have the base limits alone.
	visited := 0
	err = audit.EachAccount(t.Context(), s.client, "bursar", func(tenant budget.TenantID, b budget.Balance) error {
		if visited++; b.Limit != budget.NoPeriod || tenant.Validate() != nil {
			t.Errorf("%q: %+v", tenant, b)
		}
		return nil
	})
	if err != nil || visited != 2 {
		t.Errorf("%d tenants, %v", visited, err)
	}
	all, err := audit.Read(t.Context(), s.client, "bursar")
	if err != nil || len(all) != 2 || len(all["acme"].Holds) != 6 || all["acme"].Audit() != nil {
		t.Errorf("%+v, %v", all, err)
	}

	for _, tenant := range []budget.TenantID{"acme/ghost", "other"} {
		if list, err := audit.Limits(t.Context(), s.client, "bursar", tenant); err != nil || list.Outcome != budget.MissingTenant || len(list.Limits) > 0 {
			t.Errorf("%s: %+v, %v", tenant, list, err)
		}
	}
	if list, err := audit.Limits(t.Context(), s.client, "unused", "acme"); err != nil || list.Outcome != budget.MissingTenant {
		t.Errorf("unused: %+v, %v", list, err)
	}
	s.field(s.hour.Field()).set("short")
	if list, err := audit.Limits(t.Context(), s.client, "bursar", "acme"); !errors.Is(err, audit.ErrUnreadable) {
		t.Errorf("damaged: %+v, %v", list, err)
	}
}

func TestVerifyFindsEachDamagedLimit(t *testing.T) {
	t.Parallel()
	s := newLimitScene(t)
	s.finds("sound")
	if r := verify(t, s.client); r.Limits != 2 || r.Tenants != 2 {
		t.Errorf("%+v", r)
	}
	hour, rolling, base := s.field(s.hour.Field()), s.field(s.rolling.Field()), s.account("acme")
	a, _, err := store.ParseAccount(hour.was)
	if err != nil || len(a.Epochs.Kept) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	epoch := s.field(s.hour.EpochField(a.Epochs.Kept[0]))
	limit, limit24, tenant := `the limit by hour of tenant "acme"`, `the limit by 24h of tenant "acme"`, `tenant "acme"`
	ended := fmt.Sprintf("ended epoch from %s of %s", budget.Instant(a.Epochs.Kept[0]), limit)
	for _, c := range []struct {
		name   string
		damage func()
		wants  []want
	}{
		{"remaining by one", func() { hour.add(remainingAt, 8, 1) }, []want{{store.UnbalancedAccount, limit, "too much|granted"}}},
		{"reserved by one", func() {
			hour.add(reservedAt, 8, 1)
			b := s.field(s.hour.Field())
			b.add(remainingAt, 8, -1)
		}, []want{{store.WrongSum, limit, "reserved is 11"}}},
		{"a hold more", func() { rolling.add(countAt, 4, 1) }, []want{{store.WrongSum, limit24, ""}}},
		{"a ring by one", func() { rolling.add(len(rolling.was)-8, 8, 1) }, []want{{store.UnbalancedAccount, limit24, "the parts of its rolling window add up to 4"}}},
		{"cut short", func() { rolling.set(rolling.was[:60]) }, []want{{store.DamagedAccount, limit24, "account of 60 bytes"}}},
		{"missing", func() { rolling.remove() }, []want{{store.DamagedAccount, limit24, "its tenant's account names it, and it is missing"}}},
		{"not named", func() { base.set(base.was[:len(base.was)-1] + "\x10") }, []want{{store.OrphanedLimit, limit, "its tenant's account doesn't name it"}}},
		{"named in vain", func() { base.set(base.was[:len(base.was)-1] + "\x13") }, []want{{store.DamagedAccount, `the limit by day of tenant "acme"`, "it is missing"}}},
		{"none are named", func() { base.set(base.was[:len(base.was)-1] + "\x00") }, []want{{store.DamagedAccount, tenant, "limits of unknown periods 00000000"},
			{store.WrongSum, "the limit by .*", "its open holds sum up to 0"}}}, // holds are found by the levels' accounts
		{"of no tenant", func() { s.field("a\x02acme/ghost").set(hour.was) }, []want{
			{store.OrphanedLimit, `the limit by day of tenant "acme/ghost"`, "doesn't name it"}, {store.SharedSerial, ".*", "serial"},
			{store.WrongSum, ".*acme/ghost.*", ""}, {store.DamagedEpoch, ".*acme/ghost.*", "it is missing"}, {store.WrongDeadline, ".*", ""}}},
		{"its epoch", func() { epoch.remove() }, []want{{store.DamagedEpoch, ended, "its account keeps it, and it is missing"}}},
		{"an epoch that it doesn't keep", func() { s.field(s.hour.EpochField(7)).set(epoch.was) }, []want{{store.OrphanedEpoch, "ended epoch from 1970.* of " + limit, "no account keeps it"}}},
	} {
		c.damage()
		r := verify(t, s.client)
		for _, d := range r.Damages {
			if !slices.ContainsFunc(c.wants, func(w want) bool { return w.is(d) }) {
				t.Errorf("%s: also %s", c.name, d)
			}
		}
		if i := slices.IndexFunc(r.Damages, c.wants[0].is); i < 0 {
			t.Errorf("%s: nothing is %+v in %+v", c.name, c.wants[0], r.Damages)
		} else if d := r.Damages[i]; d.Remedy == "" || strings.Contains(d.String(), "%!") || d.Tenant.Root() != "acme" {
			t.Errorf("%s: %s", c.name, d)
		}
		for _, f := range []*field{hour, rolling, base, epoch} {
			f.restore()
		}
		s.client.HDel(t.Context(), s.keys.Ledger, "a\x02acme/ghost", s.hour.EpochField(7))
	}
	s.finds("restored")
}

// A limit that is set, removed or renewed while it is verified isn't reported.
func TestVerifyWhileLimitsChange(t *testing.T) {
	t.Parallel()
	s := newLimitScene(t)
	day := budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 700}})
	for at := range int64(8) {
		for _, change := range []budget.Setting{day, budget.RemoveLimit(budget.Day)} {
			s.findsDuring(at, func() {
				s.clock.Add(time.Hour.Milliseconds())
				s.configure("acme", change)
				reserve(t, s.engine, "acme/search", 0)
			})
		}
	}
}

func TestInspectLimits(t *testing.T) {
	t.Parallel()
	s := newLimitScene(t)
	show := func() (audit.Inspection, error) {
		return audit.InspectTenant(t.Context(), s.client, "bursar", "acme")
	}
	i, err := show()
	hasLines(t, "tenant", text(t, i, err), "  flags +00011100 settings, window, limits", "  further limits +hour,24h", `the limit by hour of tenant "acme"`, `the limit by 24h of tenant "acme"`,
		`ended epoch from 2026-03-01T04:30:00Z of the limit by hour of tenant "acme"`, "  open holds +6", "  sum of holds +60", "  open holds of the limit hour +2", "  sum of holds of the limit 24h +20")
	if len(i.Damages) > 0 {
		t.Errorf("%+v", i.Damages)
	}
	held := reserve(t, s.engine, "acme/search", 0)
	h, err := audit.InspectReservation(t.Context(), s.client, "bursar", held)
	hasLines(t, "hold", text(t, h, err), `  further limits +the limit by hour of tenant "acme", the limit by 24h of tenant "acme"`)
	if len(h.Damages) > 0 {
		t.Errorf("%+v", h.Damages)
	}
	p, err := audit.InspectPartition(t.Context(), s.client, "bursar", s.index)
	hasLines(t, "partition", text(t, p, err), "  accounts +2", "  further limits +2")
	hour, rolling := s.field(s.hour.Field()), s.field(s.rolling.Field())
	hour.add(reservedAt, 8, 1)
	b := s.field(s.hour.Field())
	b.add(remainingAt, 8, -1)
	rolling.remove()
	i, err = show()
	hasLines(t, "damaged", text(t, i, err), `.*the limit by hour of tenant "acme": .*reserved is 21.*`, `  the limit by 24h of tenant "acme" +missing`)
}
