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

// held are the stored reservations; one that is missing has state 0.
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

// committed reports whether Redis has the commit of an event.
func (h held) committed(e event) bool {
	return h[e.ID].State == luascripts.HoldCommitted && h[e.ID].Actual == e.Amount
}

// checkBalances checks the stored state: the invariant, and the sums of the holds.
func checkBalances(t *testing.T, client redis.UniversalClient, tenants []budget.TenantID) {
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

// loss is the loss of writes that a test allows.
type loss int

const (
	nothingLost loss = iota
	repaired         // writes, which living nodes restore
	lost             // writes, which no node restores
)

// check compares the answers to all callers with the stored state.
func (f *fleet) check(client redis.UniversalClient, l loss) {
	f.t.Helper()
	checkBalances(f.t, client, f.load.Tenants)
	if f.load.Roll {
		f.checkEpochs(client)
	}
	state := stored(f.t, client)
	acknowledged := make(map[budget.ReservationID]bool)
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
				acknowledged[e.ID] = true
				if hold.State == 0 && bound {
					fail("%s returned reserved, but Redis has no record", e.ID)
				}
			case e.Outcome == budget.Committed && e.Op == "commit":
				if bound && !state.committed(e) {
					fail("%s returned committed %d, but Redis has %+v", e.ID, e.Amount, hold)
				}
			case e.Outcome == budget.Released:
				if bound && hold.State != luascripts.HoldReleased {
					fail("%s returned released, but Redis has %+v", e.ID, hold)
				}
			case e.Op == "lookup" && e.Failure != "":
				fail("%s: its outcome could not be resolved: %s", e.ID, e.Text)
			case e.Op == "lookup" && l == nothingLost:
				if e.Outcome != fates[hold.State] {
					fail("%s: Lookup returned %s, but Redis has %+v", e.ID, e.Outcome, hold)
				}
			case (e.Op == "commit" || e.Op == "release") && e.Outcome == budget.MissingReservation && l == nothingLost:
				fail("%s: returned missing (%s), but it was never settled before", e.ID, e.Prior)
			case e.Failure == "other" || e.Failure == "corrupt":
				fail("unexpected error: %s", e.Text)
			}
		}
		for _, e := range p.begun { // of a killed worker
			acknowledged[e.ID] = true
		}
	}
	f.checkLeftBehind(state, acknowledged, fail)
	if l == nothingLost {
		f.checkOrder(state)
	}
	if wrong > 10 {
		f.t.Errorf("and %d more", wrong-10)
	}
}

// checkEpochs checks that money was spent on both sides of the boundary, at each level with a
// window.
func (f *fleet) checkEpochs(client redis.UniversalClient) {
	f.t.Helper()
	c := f.node(client)
	for _, tenant := range f.load.Tenants {
		for level := tenant.Parent(); level != ""; level = level.Parent() {
			for _, at := range []time.Time{f.boundary.Add(-time.Millisecond), f.boundary} {
				if !f.before && at.Before(f.boundary) {
					continue // the machine is too busy
				}
				b, err := c.Balance(f.t.Context(), level, budget.AtEpoch(at))
				must(f.t, err)
				if b.Committed == 0 || !b.Conserved() {
					f.t.Errorf("the epoch of %s at %s: %+v, want an amount that is committed", level, at, b)
				}
			}
		}
	}
}

// fates are the outcomes of Lookup by a hold's state.
var fates = map[byte]budget.Outcome{
	0: budget.NotKnown, luascripts.HoldOpen: budget.Reserved, luascripts.HoldCommitted: budget.Committed,
	luascripts.HoldReleased: budget.Released, luascripts.HoldExpired: budget.Expired,
}

// checkLeftBehind checks that a caller got each open hold, unless a node was killed.
func (f *fleet) checkLeftBehind(state held, acknowledged map[budget.ReservationID]bool, fail func(string, ...any)) {
	killed := slices.ContainsFunc(f.workers, func(p *process) bool { return p.killed })
	for id, hold := range state {
		if hold.Open() && !acknowledged[id] && !killed {
			fail("%s is held, but no caller got it", id)
		}
	}
}

// checkOrder looks for one order of events in which every answer is right. The model of
// an account is only its remaining money: the settlements are compared by check.
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
				caller++ // an operation without an answer ends late, so each gets its own caller
				byTenant[e.Tenant] = append(byTenant[e.Tenant], op)
				if e.Op == "reserve" && e.Failure == "unknown" { // released when its outcome was resolved
					byTenant[e.Tenant] = append(byTenant[e.Tenant], porcupine.Operation{
						ClientId: caller, Call: e.Began, Return: end, Input: move{delta: e.Amount}, Output: noRemaining})
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

// move is an operation's change of a tenant's remaining money.
type move struct {
	delta budget.Microcents
	needs budget.Microcents // refused below this
}

const noRemaining = budget.Microcents(-1) // the answer has no remaining

var remainingModel = porcupine.Model{
	Init: func() any { return budget.Microcents(eachBudget) },
	Step: func(state, input, output any) (bool, any) {
		remaining, m, got := state.(budget.Microcents), input.(move), output.(budget.Microcents)
		if m.needs > 0 {
			return remaining < m.needs && remaining == got, remaining
		}
		remaining += m.delta
		return remaining >= 0 && (got == noRemaining || got == remaining), remaining
	},
}

// moveOf returns an event as an operation of the model, and false if it moved nothing.
func moveOf(e event, state held, amounts map[budget.ReservationID]budget.Microcents, end int64) (porcupine.Operation, bool) {
	op := porcupine.Operation{Call: e.Began, Return: e.Ended, Output: e.Remaining}
	switch {
	case e.Op == "reserve" && e.Outcome == budget.Reserved:
		op.Input = move{delta: -e.Amount}
	case e.Op == "reserve" && e.Outcome == budget.Insufficient:
		op.Input = move{needs: e.Amount}
	case e.Op == "reserve" && e.Failure == "unknown":
		op.Input, op.Output, op.Return = move{delta: -e.Amount}, noRemaining, end
		return op, state[e.ID].State != 0
	case e.Op == "commit" && e.Outcome == budget.Committed:
		op.Input = move{delta: amounts[e.ID] - e.Amount}
	case e.Op == "release" && e.Outcome == budget.Released:
		op.Input = move{delta: amounts[e.ID]}
	case (e.Op == "commit" || e.Op == "release") && e.Failure == "unknown":
		hold := state[e.ID]
		op.Output, op.Return = noRemaining, end
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
