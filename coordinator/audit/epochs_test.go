package audit_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// windowScene is a prefix with hourly tenants, at half past four of a clock that stands still.
// Acme has a hold of 10 in its current epoch and in each of the three before.
type windowScene struct {
	*scene
	clock  atomic.Int64 // Unix ms
	epochs []int64      // starts of the ended epochs that acme keeps, descending
}

func newWindowScene(t *testing.T) *windowScene {
	t.Helper()
	client := redistest.Start(t).Client()
	w := &windowScene{}
	w.clock.Store(time.Date(2026, time.March, 1, 0, 30, 0, 0, time.UTC).UnixMilli())
	e := enginetest.Start(t, client, enginetest.Config{Partitions: 4, Clock: func() time.Time { return time.UnixMilli(w.clock.Load()) }})
	w.scene = &scene{T: t, client: client, engine: e, keys: e.Keys("acme"), index: store.PartitionOf("acme", 4)}
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		do(t, e, luascripts.KindEnsure, tenant, granted, budget.ReservationID{})
		w.window(tenant, budget.Window{Period: budget.Hour, Zone: "Europe/Berlin", Carry: 5})
	}
	for hour := range 5 {
		if hour > 0 {
			w.clock.Add(time.Hour.Milliseconds())
			reserve(t, e, "acme", 0)
		}
	}
	do(t, e, luascripts.KindRemaining, "acme/search", 0, budget.ReservationID{})
	a, _, err := store.ParseAccount(w.account("acme").was)
	if err != nil || len(a.Epochs.Kept) != 3 || a.Epochs.Ended != 30 {
		t.Fatalf("acme is %+v, %v", a, err)
	}
	w.epochs = a.Epochs.Kept
	return w
}

func (w *windowScene) window(tenant budget.TenantID, window budget.Window) {
	w.Helper()
	w.configure(tenant, budget.InWindow(window))
}

func (w *windowScene) configure(tenant budget.TenantID, settings ...budget.Setting) {
	w.Helper()
	change, err := budget.NewChange(settings...)
	if err == nil {
		_, err = w.engine.Configure(w.Context(), tenant, &change)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// epoch returns the record of one of acme's ended epochs, of which 0 is the last.
func (w *windowScene) epoch(n int) *field {
	return w.field(store.AccountID{Tenant: "acme"}.EpochField(w.epochs[n]))
}

func TestVerifyFindsEachDamagedEpoch(t *testing.T) {
	t.Parallel()
	w := newWindowScene(t)
	w.finds("sound")
	const endAt = 40
	name := func(n int) string {
		return regexp.QuoteMeta(fmt.Sprintf("ended epoch from %s of tenant \"acme\"", budget.Instant(w.epochs[n])))
	}
	tenant, windowAt := `tenant "acme"`, luascripts.AccountBytes+luascripts.SettingsBytes
	e, a := w.epoch(1), w.account("acme")
	kept := len(a.was) - 6*len(w.epochs) // offset of the starts
	for _, c := range []struct {
		name   string
		damage func()
		wants  []want
	}{
		{"granted by one", func() { e.add(grantedAt, 8, 1) }, []want{{store.DamagedEpoch, name(1), "ended epoch with remaining"}}},
		{"remaining below zero", func() {
			e.add(remainingAt, 8, -2000)
			b := w.epoch(1)
			b.add(grantedAt, 8, -2000)
		}, []want{{store.DamagedEpoch, name(1), "ended epoch with remaining -"}}},
		{"cut short", func() { e.set(e.was[:45]) }, []want{{store.DamagedEpoch, name(1), "epoch of 45 bytes, want 46"}}},
		{"empty", func() { e.set("") }, []want{{store.DamagedEpoch, name(1), "epoch of 0 bytes"}}},
		{"missing", func() { e.remove() }, []want{{store.DamagedEpoch, name(1), "its account keeps it, and it is missing"}}},
		{"of a later end", func() { e.add(endAt, 6, 1) }, []want{{store.DamagedEpoch, name(1), `it ends at \d+, and the next one begins at \d+`}}},
		{"of no length", func() { e.add(endAt, 6, -time.Hour.Milliseconds()) }, []want{{store.DamagedEpoch, name(1), "it ends at"}}},
		{"reserved by one", func() {
			e.add(reservedAt, 8, 1)
			b := w.epoch(1)
			b.add(remainingAt, 8, -1)
		}, []want{{store.WrongEnded, tenant, `reserve 30, but its ended epochs \(3\) reserve 31: 1 too little`}}},
		{"an enormous amount", func() {
			e.add(reservedAt, 8, 1<<62)
			b := w.epoch(1)
			b.add(grantedAt, 8, 1<<62)
		}, []want{{store.WrongEnded, tenant, "too little"}}},
		{"the sum", func() { a.add(windowAt+30, 8, 1) }, []want{
			{store.WrongEnded, tenant, "reserve 31, but .* reserve 30: 1 too much"}, {store.WrongSum, tenant, "reserved is 10 .* and 31 in ended epochs, but its open holds sum up to 40: 1 too much"}}},
		{"one that isn't kept", func() { w.field(store.AccountID{Tenant: "acme"}.EpochField(7)).set(e.was) }, []want{{store.OrphanedEpoch, ".*1970-01-01T00:00:00.007Z of tenant \"acme\"", "no account keeps it; its record has 46 bytes"}}},
		{"of a tenant without an account", func() { w.field(store.AccountID{Tenant: "acme/ghost"}.EpochField(7)).set(e.was) }, []want{{store.OrphanedEpoch, ".*acme/ghost.*", "no account keeps it"}}},
		{"of a tenant without a window", func() {
			do(t, w.engine, luascripts.KindEnsure, "acme/flat", 1, budget.ReservationID{})
			w.field(store.AccountID{Tenant: "acme/flat"}.EpochField(7)).set(e.was)
		}, []want{{store.OrphanedEpoch, ".*acme/flat.*", "no account keeps it"}}},
		{"of no possible tenant", func() { w.field("p\x00\x00\x00\x00\x00\x01a//b").set(e.was) }, []want{{store.DamagedEpoch, "field .*", "its field names no tenant"}}},
		{"of no tenant", func() { w.field("p1").set(e.was) }, []want{{store.DamagedEpoch, `field "p1"`, "its field names no tenant"}}},
		{"one fewer is kept", func() {
			a.set(a.was[:windowAt+41] + "\x02" + a.was[windowAt+42:kept] + a.was[kept:kept+12])
		}, []want{{store.OrphanedEpoch, name(2), "no account keeps it"}, {store.WrongEnded, tenant, `reserve 30, but its ended epochs \(2\) reserve 20: 10 too much`}}},
		{"a window cut short", func() { a.set(a.was[:windowAt+41]) }, []want{{store.DamagedAccount, tenant, "window of 41 bytes, want at least 42"}}},
		{"boundaries cut short", func() { a.set(a.was[:len(a.was)-1]) }, []want{{store.DamagedAccount, tenant, "window cut short"}}},
		{"a byte too many", func() { a.set(a.was + "x") }, []want{{store.DamagedAccount, tenant, "1 bytes too many"}}},
		{"an unknown period", func() { a.add(windowAt, 1, 9) }, []want{{store.DamagedAccount, tenant, "window of unknown period"}}},
		{"boundaries in another order", func() { a.add(kept-6, 6, -time.Hour.Milliseconds()*2) }, []want{{store.DamagedAccount, tenant, `boundary \d+ of a window after`}}},
	} {
		c.damage()
		r := verify(t, w.client)
		for _, d := range r.Damages {
			if !slices.ContainsFunc(c.wants, func(w want) bool { return w.is(d) }) {
				t.Errorf("%s: also %s", c.name, d)
			}
		}
		for _, want := range c.wants {
			i := slices.IndexFunc(r.Damages, want.is)
			if i < 0 {
				t.Errorf("%s: nothing is %+v in %+v", c.name, want, r.Damages)
			} else if d := r.Damages[i]; d.Remedy == "" || strings.Contains(d.String(), "%!") {
				t.Errorf("%s: %s", c.name, d)
			}
		}
		e.restore()
		a.restore()
		for _, tenant := range []budget.TenantID{"acme", "acme/ghost", "acme/flat"} {
			w.field(store.AccountID{Tenant: tenant}.EpochField(7)).remove()
		}
		w.client.HDel(t.Context(), w.keys.Ledger, "p\x00\x00\x00\x00\x00\x01a//b", "p1")
	}
	w.finds("restored")
}

// newRollingScene returns a windowScene in which acme/rolling, with a window of 24 hours, has
// committed 3 at half past four and 4 at five, and the offset of its ring.
func newRollingScene(t *testing.T) (w *windowScene, ring int) {
	t.Helper()
	w = newWindowScene(t)
	do(t, w.engine, luascripts.KindEnsure, "acme/rolling", granted, budget.ReservationID{})
	w.window("acme/rolling", budget.Window{Period: budget.Last24Hours})
	for _, amount := range []budget.Microcents{3, 4} {
		do(t, w.engine, luascripts.KindCommit, "acme/rolling", amount, reserve(t, w.engine, "acme/rolling", 0))
		w.clock.Add(time.Hour.Milliseconds() / 2)
	}
	return w, luascripts.AccountBytes + luascripts.SettingsBytes + luascripts.WindowBytes
}

func TestVerifyRollingWindow(t *testing.T) {
	t.Parallel()
	w, ring := newRollingScene(t)
	w.finds("sound")
	a := w.account("acme/rolling")
	tenant, markAt := `tenant "acme/rolling"`, ring-luascripts.WindowBytes+24
	for _, c := range []struct {
		name   string
		damage func()
		want   want
	}{
		{"an amount in the first part", func() { a.add(ring, 8, 1) }, want{store.UnbalancedAccount, tenant, "committed is 7, but the parts of its rolling window add up to 8: 1 too much"}},
		{"less in the last part", func() { a.add(ring+8*24, 8, -1) }, want{store.UnbalancedAccount, tenant, "committed is 7, but the parts of its rolling window add up to 6: 1 too little"}},
		{"a negative amount", func() { a.add(ring, 8, -1) }, want{store.DamagedAccount, tenant, "rolling window with a negative amount"}},
		{"a part in between", func() { a.add(markAt, 6, 1) }, want{store.DamagedAccount, tenant, `rolling window whose last part begins at \d+`}},
		{"a ring cut short", func() { a.set(a.was[:len(a.was)-1]) }, want{store.DamagedAccount, tenant, "rolling window cut short"}},
	} {
		c.damage()
		w.finds(c.name, c.want)
		a.restore()
	}
	w.finds("restored")
}

func TestInspectRollingWindow(t *testing.T) {
	t.Parallel()
	w, ring := newRollingScene(t)
	show := func() (audit.Inspection, error) {
		return audit.InspectTenant(t.Context(), w.client, "bursar", "acme/rolling")
	}
	i, err := show()
	hasLines(t, "tenant", text(t, i, err), `  period +24h \(5\)`, `  amount +.*\(1000 microcents\)`, "  first window since +2026-03-01T04:30:00.000Z .*", "  last part began +2026-03-01T05:00:00.000Z .*",
		"  parts +25 of 1 h", `  part 24 from 2026-03-01T04:00:00Z +.*\(3 microcents\)`, `  part 25 from 2026-03-01T05:00:00Z +.*\(4 microcents\)`)
	if got := text(t, i, err); len(i.Damages) > 0 || strings.Contains(got, "part 23") || strings.Contains(got, "epoch began") {
		t.Errorf("%s\n%+v", got, i.Damages)
	}
	a := w.account("acme/rolling")
	for n := ring - luascripts.WindowBytes; n < len(a.was); n++ {
		a.set(a.was[:n])
		i, err = show()
		if text(t, i, err); len(i.Damages) == 0 {
			t.Errorf("nothing is damaged in %d of %d bytes", n, len(a.was))
		}
	}
	a.add(ring, 8, 5)
	i, err = show()
	hasLines(t, "damaged", text(t, i, err), `  part 1 from 2026-02-28T05:00:00Z +.*\(5 microcents\)`, `.*committed is 7, but the parts of its rolling window add up to 12: 5 too much.*`)
}

// Each part returns when all of it is older than the window.
func TestReturns(t *testing.T) {
	t.Parallel()
	w, ring := newRollingScene(t)
	read := func(tenants ...budget.TenantID) map[budget.TenantID][]audit.Return {
		t.Helper()
		all, err := audit.Returns(t.Context(), w.client, "bursar", tenants...)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	do(t, w.engine, luascripts.KindEnsure, "acme/idle", granted, budget.ReservationID{})
	w.window("acme/idle", budget.Window{Period: budget.Last7Days})
	at := func(hour int) budget.Instant {
		return budget.InstantOf(time.Date(2026, time.March, 2, hour, 0, 0, 0, time.UTC))
	}
	all := read("acme/rolling", "acme/idle", "acme", "acme/search", "acme/ghost", "other")
	if got := all["acme/rolling"]; len(all) != 1 || !slices.Equal(got, []audit.Return{{at(5), 3}, {at(6), 4}}) {
		t.Errorf("%+v", all)
	}
	if all, err := audit.Returns(t.Context(), w.client, "unused", "acme/rolling"); err != nil || len(all) > 0 {
		t.Errorf("of an unused prefix: %+v, %v", all, err)
	}
	// Without the record of the prefix the partitions are searched.
	if err := w.client.Del(t.Context(), store.RecordKey("bursar")).Err(); err != nil {
		t.Fatal(err)
	}
	if all := read("acme/rolling"); len(all["acme/rolling"]) != 2 {
		t.Errorf("without a record: %+v", all)
	}
	a := w.account("acme/rolling")
	a.set(a.was[:ring])
	if all, err := audit.Returns(t.Context(), w.client, "bursar", "acme/rolling"); !errors.Is(err, audit.ErrUnreadable) {
		t.Errorf("of a damaged account: %+v, %v", all, err)
	}
}

// An account that rolls while it is verified isn't reported.
func TestVerifyWhileEpochsEnd(t *testing.T) {
	t.Parallel()
	w := newWindowScene(t)
	for at := range int64(8) {
		w.findsDuring(at, func() {
			w.clock.Add(time.Hour.Milliseconds())
			reserve(t, w.engine, "acme/search", 0)
		})
	}
}

// findsDuring checks that there is no damage if do is called before the page number at.
func (w *windowScene) findsDuring(at int64, do func()) {
	w.Helper()
	options := *w.client.Options()
	client := redis.NewClient(&options)
	defer client.Close()
	client.AddHook(&before{name: "evalsha", at: at, do: do})
	if r := verify(w, client); len(r.Damages) > 0 || len(r.Unsettled) > 0 {
		w.Errorf("page %d: %+v", at, r)
	}
}

func TestInspectEpochs(t *testing.T) {
	t.Parallel()
	w := newWindowScene(t)
	i, err := audit.InspectTenant(t.Context(), w.client, "bursar", "acme")
	hasLines(t, "tenant", text(t, i, err), "  flags +00001100 settings, window", `  period +hour \(1\)`, "  first day +0", `  carry-over +.*\(5 microcents\)`, `  amount of an epoch +.*\(1000 microcents\)`,
		`  epoch began +2026-03-01T04:00:00.000Z .*`, `  boundaries missing from +2026-03-01T\d\d:00:00.000Z .*`, `  reserved in ended epochs +.*\(30 microcents\)`, "  length of the zone +13",
		"  ended epochs kept +3", "  zone +Europe/Berlin", `  boundary 1 +2026-03-01T05:00:00.000Z .*`, `  ended epoch 1 began +2026-03-01T03:00:00.000Z .*`, `  ended epoch 3 began +2026-03-01T01:00:00.000Z .*`,
		`ended epoch from 2026-03-01T03:00:00Z of tenant "acme"`, `  passed on +.*\(5 microcents\)`, "  ended +2026-03-01T04:00:00.000Z .*", `  sum of holds +40`)
	if len(i.Damages) > 0 || len(i.Records) != 4 || i.Records[1].Values.Get("reserved") != budget.Microcents(10) {
		t.Errorf("%+v", i)
	}
	i, err = audit.InspectPartition(t.Context(), w.client, "bursar", w.index)
	hasLines(t, "partition", text(t, i, err), `  ended epochs +\d+`, "  other fields +2")

	w.window("acme", budget.Window{})
	i, err = audit.InspectTenant(t.Context(), w.client, "bursar", "acme")
	hasLines(t, "removed", text(t, i, err), `  period +none \(0\)`, "  ended epochs kept +3")
	a := w.account("acme")
	for n := range a.was {
		a.set(a.was[:n])
		i, err = audit.InspectTenant(t.Context(), w.client, "bursar", "acme")
		if text(t, i, err); len(i.Damages) == 0 {
			t.Errorf("nothing is damaged in %d of %d bytes", n, len(a.was))
		}
	}
	a.restore()
	w.epoch(0).set("short")
	w.epoch(1).remove()
	i, err = audit.InspectTenant(t.Context(), w.client, "bursar", "acme")
	hasLines(t, "damaged", text(t, i, err), `  ended epoch from 2026-03-01T02:00:00Z of tenant "acme" +missing`, `  partition \d: ended epoch from 2026-03-01T03:00:00Z of tenant "acme": .* epoch of 5 bytes, want 46; .*`)
}
