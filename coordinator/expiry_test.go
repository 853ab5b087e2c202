package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/local"
)

// tick is a clock that stands still until it is advanced.
type tick struct{ at atomic.Int64 }

func newTick() *tick {
	c := new(tick)
	c.at.Store(time.Now().UnixMilli())
	return c
}

func (c *tick) now() time.Time           { return time.UnixMilli(c.at.Load()) }
func (c *tick) advance(by time.Duration) { c.at.Add(by.Milliseconds()) }

// comparison is a node and the local engine with the same tenants, holds and clock.
type comparison struct {
	t      testing.TB
	node   *Coordinator
	local  *local.Engine
	client *redis.Client
	clock  *tick
}

func newComparison(t testing.TB, opts ...Option) *comparison {
	t.Helper()
	w := &comparison{t: t, clock: newTick(), client: redistest.Start(t).Client()}
	w.node = node(t, w.client, append(opts, WithClock(w.clock.now), WithMaxHolds(0), WithCallTimeout(time.Minute))...)
	var err error
	if w.local, err = local.New(local.WithClock(w.clock.now)); err != nil {
		t.Fatal(err)
	}
	return w
}

// hold is one reservation in both engines.
type hold struct{ node, local budget.ReservationID }

func (w *comparison) same(what string, got, want any, errs ...error) {
	w.t.Helper()
	for _, err := range errs {
		if err != nil {
			w.t.Errorf("%s: %v", what, err)
			return
		}
	}
	if g, l := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != l {
		w.t.Errorf("%s: %s, and the local engine has %s", what, g, l)
	}
}

func (w *comparison) ensure(tenant budget.TenantID, amount budget.Microcents) {
	w.t.Helper()
	got, err := w.node.EnsureTenant(context.Background(), tenant, amount)
	want, localErr := w.local.EnsureTenant(context.Background(), tenant, amount)
	w.same("EnsureTenant", got, want, err, localErr)
}

func (w *comparison) reserve(tenant budget.TenantID, cost budget.Microcents) hold {
	w.t.Helper()
	got, err := w.node.TryReserve(context.Background(), tenant, cost)
	want, localErr := w.local.TryReserve(context.Background(), tenant, cost)
	h := hold{got.ID, want.ID}
	got.ID, want.ID = budget.ReservationID{}, budget.ReservationID{}
	w.same("TryReserve", got, want, err, localErr)
	return h
}

func (w *comparison) commit(h hold, actual budget.Microcents) {
	w.t.Helper()
	got, err := w.node.Commit(context.Background(), h.node, actual)
	want, localErr := w.local.Commit(context.Background(), h.local, actual)
	w.same("Commit", got, want, err, localErr)
}

func (w *comparison) balance(tenant budget.TenantID) {
	w.t.Helper()
	got, err := w.node.Balance(context.Background(), tenant)
	want, localErr := w.local.Balance(context.Background(), tenant)
	w.same("Balance", got, want, err, localErr)
}

// makeDueHolds makes holds of acme that are all due at one instant, and returns two of them.
func (w *comparison) makeDueHolds(holds int) [2]hold {
	w.t.Helper()
	w.ensure("acme", budget.Microcents(holds))
	some := [2]hold{w.reserve("acme", 1), w.reserve("acme", 1)}
	spread(256, holds-len(some), func(int) { reserveCent(w.t, w.node, "acme", 1) })
	for range holds - len(some) {
		reserveCent(w.t, w.local, "acme", 1)
	}
	w.balance("acme")
	return some
}

func reserveCent(t testing.TB, engine budget.Engine, tenant budget.TenantID, cost budget.Microcents) {
	if r, err := engine.TryReserve(context.Background(), tenant, cost); err != nil || r.Outcome != budget.Reserved {
		t.Error(r, err)
	}
}

// processorTime returns the processor time that the server has used so far.
func processorTime(t testing.TB, client *redis.Client) (used time.Duration) {
	t.Helper()
	section := client.InfoMap(context.Background(), "cpu")
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(section.Item("CPU", name)), 64)
		if err != nil {
			t.Fatal(err)
		}
		used += time.Duration(seconds * float64(time.Second))
	}
	return used
}

// A backlog costs a neighbour's call one bounded sweep, and the answers equal those of an
// engine that has ended everything that is due. The test measures the server's processor
// time, since the machine may be busy.
func TestBacklogOfATenantDelaysNoNeighbour(t *testing.T) {
	t.Parallel()
	const holds, calls = 20_000, 8
	w := newComparison(t)
	quiet, busy := neighbours("acme")
	w.ensure(quiet, 1000)
	w.ensure(busy, 1000)
	// Both had a hold that would be due with acme's, and busy always has an open one.
	w.commit(w.reserve(quiet, 300), 7)
	first := w.reserve(busy, 300)
	some := w.makeDueHolds(holds)
	w.clock.advance(budget.DefaultHoldTTL / 2)
	later := w.reserve(busy, 200)
	w.commit(first, 7)
	w.clock.advance(budget.DefaultHoldTTL / 2)

	commands, used := commandCalls(t, w.client, "evalsha"), processorTime(t, w.client)
	w.balance(busy)
	w.commit(later, 20)
	for range (calls - 2) / 2 {
		w.reserve(quiet, 1)
		w.reserve(busy, 1)
	}
	commands = commandCalls(t, w.client, "evalsha") - commands
	spent := (processorTime(t, w.client) - used) / calls
	open := openHolds(t, w.client)
	t.Logf("%d commands and %s of Redis' processor for each of %d calls; %d holds are open", commands/calls, spent, calls, open)
	if commands > 2*calls {
		t.Errorf("%d commands for %d calls of a neighbour, want at most 2 a call", commands, calls)
	}
	if spent > 10*time.Millisecond {
		t.Errorf("a call of a neighbour took Redis %s, want at most 10 ms", spent)
	}
	if open < holds/4 {
		t.Errorf("%d holds are open: the backlog is gone", open)
	}

	began := time.Now()
	w.reserve("acme", holds) // it needs the money of all of them
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the money was back after %s", took)
	}
	w.balance("acme")
	w.commit(some[0], 1)
	w.balance(quiet)
	w.balance(busy)
	audit(t, w.client)
}

func openHolds(t testing.TB, client *redis.Client) int {
	t.Helper()
	return int(client.ZCount(context.Background(), acmeTimers, "-inf", "9007199254740991").Val())
}

// BenchmarkBacklog reports how long calls of one caller take while 100,000 holds of
// another tenant of its partition are due and its own tenant always has an open hold, and
// how long it takes until all their money is back while a call of that tenant waits for
// it. Run it with -benchtime=1x.
func BenchmarkBacklog(b *testing.B) {
	for b.Loop() {
		w := newComparison(b)
		other := neighbour("acme")
		w.ensure(other, 1<<40)
		const holds = 100_000
		first := w.reserve(other, 1)
		w.makeDueHolds(holds)
		w.clock.advance(budget.DefaultHoldTTL / 2)
		w.reserve(other, 1)
		w.commit(first, 1)
		w.clock.advance(budget.DefaultHoldTTL / 2)
		began, back := time.Now(), make(chan time.Duration, 1)
		go func() {
			w.reserve("acme", holds)
			back <- time.Since(began)
		}()
		var took []time.Duration
		for len(back) == 0 {
			asked := time.Now()
			w.reserve(other, 1)
			took = append(took, time.Since(asked))
		}
		slices.Sort(took)
		b.ReportMetric((<-back).Seconds(), "s-until-back")
		b.ReportMetric(float64(len(took)), "calls")
		b.ReportMetric(quantile(took, 0.5).Seconds()*1e3, "p50-ms")
		b.ReportMetric(quantile(took, 0.99).Seconds()*1e3, "p99-ms")
		b.ReportMetric(took[len(took)-1].Seconds()*1e3, "max-ms")
		w.balance("acme")
		w.balance(other)
		if b.Failed() {
			return
		}
	}
}
