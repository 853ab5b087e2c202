//go:build faults

package faults

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// held are the reservations that Redis stores. Its holds have state 0 if there is none.
type held map[budget.ReservationID]store.Hold

func stored(t *testing.T, client redis.UniversalClient) held {
	t.Helper()
	all := make(held)
	for _, keys := range inUse(t, client) {
		fields, err := client.HGetAll(context.Background(), keys.Ledger).Result()
		must(t, err)
		for field, record := range fields {
			if field[0] != luascripts.FieldHold {
				continue
			}
			hold, err := store.ParseHold(record)
			must(t, err)
			id, err := store.ReservationOf(hold.Tenant, field)
			must(t, err)
			all[id] = hold
		}
	}
	return all
}

// committed reports whether Redis has the commit that an event is about.
func (h held) committed(e event) bool {
	return h[e.ID].State == luascripts.HoldCommitted && h[e.ID].Actual == e.Amount
}

// checkLaw holds Redis' own state to the law and to the sum of the holds.
func checkLaw(t *testing.T, client redis.UniversalClient, tenants []budget.TenantID) {
	t.Helper()
	report, err := audit.Verify(context.Background(), client, store.DefaultPrefix, audit.Options{})
	must(t, err)
	for _, d := range report.Damages {
		t.Error(d)
	}
	if len(report.Unsettled) > 0 {
		t.Errorf("partitions %v change too fast to be verified", report.Unsettled)
	}
	accounts, err := audit.Read(context.Background(), client, store.DefaultPrefix, tenants...)
	must(t, err)
	for _, tenant := range tenants {
		if account, ok := accounts[tenant]; !ok {
			t.Errorf("%s is gone", tenant)
		} else if err := account.Audit(); err != nil {
			t.Errorf("%s: %v", tenant, err)
		}
	}
}

// loss is what Redis may have lost in a test.
type loss int

const (
	nothingLost loss = iota
	repaired         // writes, and nodes that were told of them are alive to restore them
	lost             // writes, and nobody restores them
)

// check compares what everybody was told with what Redis has.
func (f *fleet) check(client redis.UniversalClient, l loss) {
	f.t.Helper()
	checkLaw(f.t, client, f.load.Tenants)
	state := stored(f.t, client)
	told := make(map[budget.ReservationID]bool)
	wrong := 0
	fail := func(format string, args ...any) {
		if wrong++; wrong <= 10 {
			f.t.Errorf(format, args...)
		}
	}
	for _, p := range f.workers {
		bound := l != lost && !(l == repaired && p.killed)
		for _, e := range p.events {
			hold := state[e.ID]
			switch {
			case e.Op == "reserve" && e.Outcome == budget.Reserved:
				told[e.ID] = true
				if hold.State == 0 && bound {
					fail("%s was told reserved, and Redis has nothing", e.ID)
				}
			case e.Outcome == budget.Committed && e.Op == "commit":
				if bound && !state.committed(e) {
					fail("%s was told committed %d, and Redis has %+v", e.ID, e.Amount, hold)
				}
			case e.Outcome == budget.Released:
				if bound && hold.State != luascripts.HoldReleased {
					fail("%s was told released, and Redis has %+v", e.ID, hold)
				}
			case e.Op == "lookup" && e.Failure != "":
				fail("%s: its outcome could not be found out: %s", e.ID, e.Text)
			case e.Op == "lookup" && l == nothingLost:
				if e.Outcome != fates[hold.State] {
					fail("%s: Lookup said %s, and Redis has %+v", e.ID, e.Outcome, hold)
				}
			case (e.Op == "commit" || e.Op == "release") && e.Outcome == budget.MissingReservation && l == nothingLost:
				fail("%s: told missing (%s), and it was never settled before", e.ID, e.Prior)
			case e.Failure == "other" || e.Failure == "corrupt":
				fail("unexpected error: %s", e.Text)
			}
		}
		for _, e := range p.begun { // of a worker that was killed
			told[e.ID] = true
		}
	}
	f.checkLeftBehind(state, told, fail)
	if l == nothingLost {
		f.checkOrder(state)
	}
	if wrong > 10 {
		f.t.Errorf("and %d more", wrong-10)
	}
}

// fates are what Lookup says of a hold, by its state.
var fates = map[byte]budget.Outcome{
	0: budget.NotKnown, luascripts.HoldOpen: budget.Reserved, luascripts.HoldCommitted: budget.Committed,
	luascripts.HoldReleased: budget.Released, luascripts.HoldExpired: budget.Expired,
}

// checkLeftBehind: what is open was told to somebody, or its node was killed.
func (f *fleet) checkLeftBehind(state held, told map[budget.ReservationID]bool, fail func(string, ...any)) {
	killed := slices.ContainsFunc(f.workers, func(p *process) bool { return p.killed })
	for id, hold := range state {
		if hold.Open() && !told[id] && !killed {
			fail("%s is held, and nobody was told of it", id)
		}
	}
}

// checkOrder looks for one order of events in which every answer is right. A
// tenant's remaining money is all there is to an answer here: who settled what is
// compared above.
func (f *fleet) checkOrder(state held) {
	f.t.Helper()
	byTenant := make(map[budget.TenantID][]porcupine.Operation)
	amounts := make(map[budget.ReservationID]budget.Microcents)
	end := time.Now().UnixNano()
	for _, p := range f.workers {
		for _, e := range p.events {
			if e.Op == "reserve" && !e.ID.IsZero() {
				amounts[e.ID] = e.Amount
			}
		}
	}
	caller := 0
	for _, p := range f.workers {
		for _, e := range p.events {
			if op, ok := moveOf(e, state, amounts, end); ok {
				op.ClientId = caller
				caller++ // an operation without an answer ends late, so no caller has two
				byTenant[e.Tenant] = append(byTenant[e.Tenant], op)
				if e.Op == "reserve" && e.Failure == "unknown" { // released, by whoever found out
					byTenant[e.Tenant] = append(byTenant[e.Tenant], porcupine.Operation{
						ClientId: caller, Call: e.Began, Return: end, Input: move{delta: e.Amount}, Output: unseen})
					caller++
				}
			}
		}
	}
	operations := 0
	for tenant, history := range byTenant {
		operations += len(history)
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		if verdict := porcupine.CheckOperationsTimeout(remainingModel, history, 30*time.Second); verdict != porcupine.Ok {
			f.t.Errorf("%s: no order of %d events explains every answer: %s", tenant, len(history), verdict)
		}
	}
	f.t.Logf("%d operations fit one order for each tenant", operations)
}

// move is what an operation did to a tenant's remaining money.
type move struct {
	delta budget.Microcents
	needs budget.Microcents // refused below this
}

const unseen = budget.Microcents(-1) // the caller was not told what remained

var remainingModel = porcupine.Model{
	Init: func() any { return budget.Microcents(eachBudget) },
	Step: func(state, input, output any) (bool, any) {
		remaining, m, told := state.(budget.Microcents), input.(move), output.(budget.Microcents)
		if m.needs > 0 {
			return remaining < m.needs && remaining == told, remaining
		}
		remaining += m.delta
		return remaining >= 0 && (told == unseen || told == remaining), remaining
	},
}

// moveOf is an event as an operation of the model; false where it moved nothing.
func moveOf(e event, state held, amounts map[budget.ReservationID]budget.Microcents, end int64) (porcupine.Operation, bool) {
	op := porcupine.Operation{Call: e.Began, Return: e.Ended, Output: e.Remaining}
	switch {
	case e.Op == "reserve" && e.Outcome == budget.Reserved:
		op.Input = move{delta: -e.Amount}
	case e.Op == "reserve" && e.Outcome == budget.Insufficient:
		op.Input = move{needs: e.Amount}
	case e.Op == "reserve" && e.Failure == "unknown":
		op.Input, op.Output, op.Return = move{delta: -e.Amount}, unseen, end
		return op, state[e.ID].State != 0
	case e.Op == "commit" && e.Outcome == budget.Committed:
		op.Input = move{delta: amounts[e.ID] - e.Amount}
	case e.Op == "release" && e.Outcome == budget.Released:
		op.Input = move{delta: amounts[e.ID]}
	case (e.Op == "commit" || e.Op == "release") && e.Failure == "unknown":
		hold := state[e.ID]
		op.Output, op.Return = unseen, end
		op.Input = move{delta: amounts[e.ID]}
		if hold.State == luascripts.HoldCommitted {
			op.Input = move{delta: amounts[e.ID] - hold.Actual}
		}
		return op, hold.State == luascripts.HoldCommitted || hold.State == luascripts.HoldReleased
	default:
		return op, false
	}
	return op, true
}
