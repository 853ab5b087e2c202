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
	return []check{{name: "every answer fits one order of events", run: linearizes}}
}

func linearizes(x *fixture) {
	counts := x.linearize()
	if counts.unknown > 0 {
		x.t.Errorf("%d of %d operations got no answer", counts.unknown, counts.operations)
	}
}

// Linearizability records histories of a few concurrent callers and uses porcupine to find
// an order of the operations that explains every result. It is for engines under faults:
// an operation that returned an error may have taken effect, or may take effect at any
// later time, or never, and the engine may release a hold whose reserve returned an error.
// At least half of the operations must return without an error. Linearizability doesn't
// call [Audit], since the engine may still be busy.
func Linearizability(t *testing.T, f Factory) {
	counts := newFixture(t, f, check{levels: abilitiesOf(t, f).levels}).linearize()
	if counts.unknown*2 > counts.operations {
		t.Errorf("%d of %d operations got no answer; histories without answers prove nothing", counts.unknown, counts.operations)
	}
}

const (
	// Many short histories are checked instead of a long one, because the time to check a
	// history grows fast with its length. Rounds continue until enough operations have
	// overlapped, for which a fast engine on a busy machine needs more rounds than an engine
	// behind a network.
	minRounds, maxRounds = 40, 150
	enoughConcurrent     = 100
	// overlapTimeout is the maximum time until the first two operations overlap. A busy machine
	// may leave this process with one processor for seconds.
	overlapTimeout = 20 * time.Second
	// judgeWithin is the timeout for checking a history, far more than one of this size
	// needs.
	judgeWithin = 20 * time.Second
)

// tally counts the operations of a run.
type tally struct{ operations, unknown, concurrent int }

func (counts tally) wantsMore(rounds int, began time.Time) bool {
	return rounds < minRounds ||
		rounds < maxRounds && counts.concurrent < enoughConcurrent ||
		counts.concurrent == 0 && canOverlap() && time.Since(began) < overlapTimeout
}

// canOverlap reports whether the calls of an engine that never blocks can overlap: on one
// processor they can't.
func canOverlap() bool { return runtime.GOMAXPROCS(0) > 1 }

func (x *fixture) linearize() tally {
	x.t.Helper()
	var counts tally
	rounds, began := 0, time.Now()
	for ; counts.wantsMore(rounds, began); rounds++ {
		r := x.newHistory(rounds)
		r.record(uint64(rounds))
		x.count(&counts, r)
		history := r.history()
		if verdict := porcupine.CheckOperationsTimeout(engineModel(), history, judgeWithin); verdict != porcupine.Ok {
			x.t.Fatalf("round %d: the history is %s, want one that some order of events explains:\n%s", rounds, verdict, formatHistory(history))
		}
	}
	x.t.Logf("%d operations in %d histories, %d of them began while another ran, %d got no answer", counts.operations, rounds, counts.concurrent, counts.unknown)
	if counts.concurrent == 0 && canOverlap() {
		x.t.Error("no operation began while another ran; the histories prove nothing")
	}
	return counts
}

// newHistory returns a recorder. Each history starts without tenants, so it uses new ones,
// all of one family. Every other history has settings.
func (x *fixture) newHistory(round int) *recorder {
	family := budget.TenantID(fmt.Sprintf("acme-%d", round))
	settings := x.subject.Settings && round%2 == 1
	if _, without := x.engine.(flat); without {
		return newRecorder(x, false, settings, family+"/ads", family+"/search")
	}
	return newRecorder(x, true, settings, family, family+"/search", family+"/search/key-7", family+"/search/key-8")
}

func (x *fixture) count(counts *tally, r *recorder) {
	for _, e := range r.events {
		counts.operations++
		if e.response.unknown {
			counts.unknown++
		}
		if slices.ContainsFunc(r.events, func(o event) bool { return o.call < e.call && e.call < o.ret }) {
			counts.concurrent++
		}
	}
	for _, e := range r.events[len(r.events)-2*len(r.tenants):] { // the reads after all callers
		if e.request.verb == verbBalance && e.response.outcome == budget.Found {
			x.tenants = append(x.tenants, e.request.tenant)
		}
	}
}

// formatHistory formats a history, part by part, in the order of the calls.
func formatHistory(history []porcupine.Operation) string {
	var lines strings.Builder
	for _, part := range inParts(history) {
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range part {
			lines.WriteString(formatOperation(op))
		}
	}
	return lines.String()
}

func formatOperation(op porcupine.Operation) string {
	return fmt.Sprintf("%4d to %4d, caller %d: %s\n", op.Call, op.Return, op.ClientId, describe(op.Input.(request), op.Output.(response)))
}
