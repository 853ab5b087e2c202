package budgettest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/calybris/bursar/coordinator/budget"
)

// maxSteps bounds a case of the fuzzer, so that one failing case can be read.
const maxSteps = 60

// mostRuns bounds how often Differential goes on for an outcome that chance has
// kept from it. The rarest is met ten times or more in a run, so the second run
// is rare, and the last never comes.
const mostRuns = 4

// Differential drives two engines with the same random operations (a few
// tenants, levels included; amounts around 0, 2^53, 2^63-1 and around what is
// left and held; the clock crosses deadlines) and compares after each step the
// answers and the whole state. The run must have seen every outcome; it needs
// rapid's default number of checks for that. A failure prints rapid's seed.
//
// Give the engine that is trusted as reference, and the one with Stored as subject.
func Differential(t *testing.T, reference, subject Factory) {
	coverage := make(map[string]int)
	for runs := 0; runs < mostRuns && (runs == 0 || len(uncovered(coverage)) > 0); runs++ {
		differential(t, reference, subject, coverage)
	}
	t.Logf("outcomes seen:\n%s", coverageLines(coverage))
	if lacking := uncovered(coverage); len(lacking) > 0 {
		t.Errorf("the run never saw: %s", strings.Join(lacking, ", "))
	}
}

// firstTenants are made when a case begins, with any budget, also one that is an
// error; the third comes into being by chance.
var firstTenants = []budget.TenantID{"acme", "acme/search"}

func differential(t testing.TB, reference, subject Factory, coverage map[string]int) {
	step := rapid.Map(rapid.SliceOfN(rapid.Byte(), operationBytes, operationBytes), func(b []byte) operation { return decode(b)[0] })
	rapid.Check(t, func(rt *rapid.T) {
		scoped(t, func(t testing.TB) {
			p := newPair(t, reference, subject, coverage)
			for _, tenant := range firstTenants {
				op := step.Draw(rt, "opening")
				op.verb, op.tenant = verbEnsure, tenant
				if err := p.perform(op); err != nil {
					rt.Fatal(err)
				}
			}
			rt.Repeat(map[string]func(*rapid.T){"step": func(rt *rapid.T) {
				if err := p.perform(step.Draw(rt, "operation")); err != nil {
					rt.Fatal(err)
				}
			}})
		})
	})
}

// FuzzDifferential is Differential for go test -fuzz: the fuzzer's bytes are
// the operations. Run as a test it drives a fixed set of random ones.
func FuzzDifferential(f *testing.F, reference, subject Factory) {
	random := rand.New(rand.NewPCG(2, 1))
	for range 8 {
		seed := make([]byte, maxSteps*operationBytes)
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newPair(t, reference, subject, make(map[string]int))
		for _, op := range decode(data[:min(len(data), maxSteps*operationBytes)]) {
			if err := p.perform(op); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// outcomesToSee is what each operation can answer, so far as one caller can make
// it happen: the settle of a tenant that is gone needs a tenant that goes.
var outcomesToSee = func() []string {
	invalid, overflow := "error: "+budget.ErrInvalidAmount.Error(), "error: "+budget.ErrOverflow.Error()
	var all []string
	for verb, outcomes := range map[verb][]string{
		verbEnsure:    {"created", "exists", invalid},
		verbReserve:   {"reserved", "insufficient", "missing_tenant"},
		verbCommit:    {"committed", "overrun", "invalid_amount", "missing_reservation"},
		verbRelease:   {"released", "missing_reservation"},
		verbGrant:     {"granted", "missing_tenant", invalid, overflow},
		verbWithdraw:  {"withdrawn", "insufficient", "missing_tenant", invalid},
		verbRemaining: {"found", "missing_tenant"},
		verbBalance:   {"found", "missing_tenant"},
		verbHolds:     {"found", "missing_tenant"},
		verbLookup:    {"reserved", "committed", "released", "expired", "not_known"},
	} {
		for _, outcome := range outcomes {
			all = append(all, verb.String()+" "+outcome)
		}
	}
	for _, verb := range []verb{verbCommit, verbRelease} {
		for _, prior := range []budget.Outcome{budget.Committed, budget.Released, budget.Expired} {
			all = append(all, verb.String()+" missing_reservation after "+prior.String())
		}
	}
	slices.Sort(all)
	return all
}()

func uncovered(coverage map[string]int) []string {
	var lacking []string
	for _, outcome := range outcomesToSee {
		if coverage[outcome] == 0 {
			lacking = append(lacking, outcome)
		}
	}
	return lacking
}

func coverageLines(coverage map[string]int) string {
	var lines strings.Builder
	for _, outcome := range slices.Sorted(maps.Keys(coverage)) {
		fmt.Fprintf(&lines, "%6d %s\n", coverage[outcome], outcome)
	}
	return lines.String()
}
