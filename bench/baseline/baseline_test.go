package baseline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A comparison is fair only if a baseline decides as Bursar does.
func TestStoresDecide(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, name := range []string{Script, Watch, Check} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := New(name, server.Client(), "p")
			if err := k.Create(t.Context(), "a", 100); err != nil {
				t.Fatal(err)
			}
			reserve := func(tenant budget.TenantID, cost budget.Microcents, want budget.Reservation) budget.ReservationID {
				t.Helper()
				got, err := k.TryReserve(t.Context(), tenant, cost)
				id := got.ID
				got.ID = budget.ReservationID{}
				if err != nil || got != want || (id != budget.ReservationID{}) != (want.Outcome == budget.Reserved) {
					t.Errorf("reserve %d: %+v, %v; want %+v", cost, got, err, want)
				}
				return id
			}
			commit := func(id budget.ReservationID, actual budget.Microcents, want budget.Settlement) {
				t.Helper()
				if got, err := k.Commit(t.Context(), id, actual); err != nil || got != want {
					t.Errorf("commit %d: %+v, %v; want %+v", actual, got, err, want)
				}
			}
			release := func(id budget.ReservationID, want budget.Settlement) {
				t.Helper()
				if got, err := k.Release(t.Context(), id); err != nil || got != want {
					t.Errorf("release: %+v, %v; want %+v", got, err, want)
				}
			}
			reserve("nobody", 1, budget.Reservation{Outcome: budget.MissingTenant})
			reserve("a", 101, budget.Reservation{Outcome: budget.Insufficient, Remaining: 100, Required: 101})
			reserve("a", 0, budget.Reservation{Outcome: budget.Insufficient, Remaining: 100})
			first := reserve("a", 60, budget.Reservation{Outcome: budget.Reserved, Remaining: 40})
			second := reserve("a", 30, budget.Reservation{Outcome: budget.Reserved, Remaining: 10})
			commit(first, 71, budget.Settlement{Outcome: budget.Overrun, Remaining: 10})
			commit(first, 65, budget.Settlement{Outcome: budget.Committed, Remaining: 5, Actual: 65})
			commit(first, 1, budget.Settlement{Outcome: budget.MissingReservation})
			release(second, budget.Settlement{Outcome: budget.Released, Remaining: 35})
			release(second, budget.Settlement{Outcome: budget.MissingReservation})
			third := reserve("a", 35, budget.Reservation{Outcome: budget.Reserved})
			commit(third, 20, budget.Settlement{Outcome: budget.Committed, Remaining: 15, Actual: 20})
			reserve("a", 10, budget.Reservation{Outcome: budget.Reserved, Remaining: 5})
			reader := New(name, server.Client(), "p")
			if spent, err := reader.Spent(t.Context(), "a", 100); err != nil || spent != 95 {
				t.Errorf("spent %d, %v; want 85 committed and 10 held", spent, err)
			}
		})
	}
}

// INCR counts and grants everything.
func TestIncrCounts(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	n := New(Incr, client, "p")
	if err := n.Create(t.Context(), "a", 1); err != nil {
		t.Fatal(err)
	}
	res, err := n.TryReserve(t.Context(), "a", 5)
	if err != nil || res.Outcome != budget.Reserved {
		t.Fatal(res, err)
	}
	if got, err := n.Commit(t.Context(), res.ID, 3); err != nil || got != (budget.Settlement{Outcome: budget.Committed, Actual: 3}) {
		t.Error(got, err)
	}
	if got, err := n.Release(t.Context(), res.ID); err != nil || got.Outcome != budget.Released {
		t.Error(got, err)
	}
	if got, err := client.Get(t.Context(), "p:incr:a").Int(); err != nil || got != 3 {
		t.Errorf("%d calls, %v; want 3", got, err)
	}
	if spent, err := n.Spent(t.Context(), "a", 1); err != nil || spent != 0 || Decides(Incr) {
		t.Errorf("it keeps no books: %d, %v", spent, err)
	}
}

// Unreadable records are an error, never 0.
func TestUnreadableBalances(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	for _, name := range []string{Script, Watch} {
		if err := client.HSet(t.Context(), "p:"+name+":{a}", "committed", "9223372036854775807", "h1.1", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{Script: "overflow", Watch: "overflow", Check: "nil"} {
		if spent, err := New(name, client, "p").Spent(t.Context(), "a", 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: spent %d, %v; want %q", name, spent, err, want)
		}
	}
	client.HSet(t.Context(), "p:watch:{b}", "remaining", "much")
	if res, err := New(Watch, client, "p").TryReserve(t.Context(), "b", 1); err == nil || res.Outcome != budget.Unknown {
		t.Errorf("books of no number: %+v, %v", res, err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list, err string
		want      []string
	}{
		{"all", "", All},
		{"incr", "", []string{Incr}},
		{"check, incr,check", "", []string{Incr, Check}},
		{"", `"": give all, or some of local,incr,script,watch,check`, nil},
		{"incr,", `"": give all`, nil},
		{"bursar", "Bursar itself is always measured", nil},
		{"incr,all", `"all": give all`, nil},
		{"Incr", `"Incr"`, nil},
	} {
		got, err := Parse(c.list)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: - want, + got:\n%s", c.list, diff)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v, want %q", c.list, err, c.err)
		}
	}
	for _, name := range append([]string{Bursar}, All...) {
		if Describe(name) == "" {
			t.Errorf("%s is not described", name)
		}
	}
}
