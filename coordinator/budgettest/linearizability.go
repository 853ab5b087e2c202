package budgettest

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/calybris/bursar/coordinator/budget"
)

func linearizabilityChecks() []check {
	return []check{{name: "every answer fits one order of events", run: func(x *fixture) {
		told := x.linearize()
		if told.unknown > 0 {
			x.t.Errorf("%d of %d operations got no answer", told.unknown, told.operations)
		}
	}}}
}

// Linearizability records histories of a few concurrent callers and has
// porcupine look for an order of events that explains every answer. It is for
// engines under faults: an operation that returned an error may have happened or
// not, or happen at any later time; a hold whose reserve returned an error may be
// released by the engine. At least half of the operations must be answered. The
// law is not audited: the engine may still be at work.
func Linearizability(t *testing.T, f Factory) {
	told := newFixture(t, f, check{}).linearize()
	if told.unknown*2 > told.operations {
		t.Errorf("%d of %d operations got no answer; histories without answers prove nothing", told.unknown, told.operations)
	}
}

const (
	// Many short histories instead of a long one: the time to judge one grows fast
	// with its length. They go on until enough operations have met, which takes a
	// fast engine on a busy machine more of them than one behind a network.
	leastRounds, mostRounds = 40, 150
	enoughConcurrent        = 100
	// patientFor bounds the wait for the first two operations that meet. A busy
	// machine may give this process one processor for seconds.
	patientFor = 20 * time.Second
	// judgeWithin is far more than a history of this size ever needs.
	judgeWithin = 20 * time.Second
)

// tally says how much a run has seen.
type tally struct{ operations, unknown, concurrent int }

func (told tally) wantsMore(rounds int, began time.Time) bool {
	return rounds < leastRounds ||
		rounds < mostRounds && told.concurrent < enoughConcurrent ||
		told.concurrent == 0 && canMeet() && time.Since(began) < patientFor
}

// canMeet: on one processor the calls of an engine that never waits follow each other.
func canMeet() bool { return runtime.GOMAXPROCS(0) > 1 }

func (x *fixture) linearize() tally {
	x.t.Helper()
	var told tally
	rounds, began := 0, time.Now()
	for ; told.wantsMore(rounds, began); rounds++ {
		// New tenants, as a history starts from nothing; two of one family.
		root := budget.TenantID(fmt.Sprintf("acme-%d", rounds))
		r := newRecorder(x.ctx, x.engine)
		r.record(uint64(rounds), []budget.TenantID{root, root + "/search"})
		x.count(&told, r.events)
		history := r.history()
		if verdict := porcupine.CheckOperationsTimeout(engineModel(), history, judgeWithin); verdict != porcupine.Ok {
			x.t.Fatalf("round %d: the history is %s, want one that some order of events explains:\n%s", rounds, verdict, story(history))
		}
	}
	x.t.Logf("%d operations in %d histories, %d of them began while another ran, %d got no answer", told.operations, rounds, told.concurrent, told.unknown)
	if told.concurrent == 0 && canMeet() {
		x.t.Error("no operation began while another ran; the histories prove nothing")
	}
	return told
}

func (x *fixture) count(told *tally, events []event) {
	for _, e := range events {
		told.operations++
		if e.response.unknown {
			told.unknown++
		}
		if slices.ContainsFunc(events, func(o event) bool { return o.call < e.call && e.call < o.ret }) {
			told.concurrent++
		}
		if e.request.verb == verbEnsure && e.response.outcome == budget.Created {
			x.tenants = append(x.tenants, e.request.tenant)
		}
	}
}

// story lists a history in the order of the calls, a tenant after the other.
func story(history []porcupine.Operation) string {
	var lines strings.Builder
	for _, part := range byTenant(history) {
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range part {
			lines.WriteString(storyLine(op))
		}
	}
	return lines.String()
}

func storyLine(op porcupine.Operation) string {
	return fmt.Sprintf("%4d to %4d, caller %d: %s\n", op.Call, op.Return, op.ClientId, describe(op.Input.(request), op.Output.(response)))
}
