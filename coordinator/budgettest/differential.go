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

// maxSteps is the maximum number of operations in a case of the fuzzer, so that a failing
// case stays readable.
const maxSteps = 60

// maxRuns is the maximum number of runs of Differential, which runs again if by chance an
// outcome didn't occur. One run is usual, and the last is never needed.
const maxRuns = 8

// Differential applies the same random operations to two engines and compares the results
// and the whole state after each step. The operations use a few tenants, on up to four
// levels of one family if both engines have Subject.Levels; settings if both have
// Subject.Settings; windows if both have Subject.Windows, with a clock that jumps to their
// boundaries and to the ends of parts; several limits if both have Subject.Limits; amounts
// around 0, 2^53, 2^63-1 and the remaining and held amounts; and a clock that passes deadlines.
// The test fails if an outcome didn't occur, so it needs at least rapid's default number of
// checks. A failure prints rapid's seed.
//
// The reference is the trusted engine; the subject is the one with Stored, if any.
func Differential(t *testing.T, reference, subject Factory) {
	coverage := make(map[string]int)
	able := abilitiesOf(t, reference).and(abilitiesOf(t, subject))
	lacking := func() []string { return uncovered(coverage, able) }
	for runs := 0; runs < maxRuns && (runs == 0 || len(lacking()) > 0); runs++ {
		differential(t, reference, subject, coverage)
	}
	t.Logf("outcomes seen:\n%s", coverageLines(coverage))
	if lacking := lacking(); len(lacking) > 0 {
		t.Errorf("outcomes that never occurred: %s", strings.Join(lacking, ", "))
	}
}

// firstTenants lists the tenants that each case ensures at its start, with a random budget,
// which may be invalid. Other tenants are created only by random operations.
var firstTenants = []budget.TenantID{"acme", "acme/search/key-7"}

func differential(t testing.TB, reference, subject Factory, coverage map[string]int) {
	step := rapid.Map(rapid.SliceOfN(rapid.Byte(), operationBytes, operationBytes), func(b []byte) operation { return decode(b)[0] })
	rapid.Check(t, func(rt *rapid.T) {
		scoped(t, func(t testing.TB) {
			p := newPair(t, reference, subject, coverage)
			perform := func(op operation) {
				if err := p.perform(op); err != nil {
					rt.Fatal(err)
				}
			}
			for _, tenant := range firstTenants {
				op := step.Draw(rt, "opening")
				op.verb, op.instead, op.tenant = verbEnsure, sameVerb, tenant
				perform(op)
				if p.able.limits {
					p.limit(tenant, step.Draw(rt, "opening"), perform)
				}
				if p.able.settings {
					p.open(tenant, func() operation { return step.Draw(rt, "opening") }, perform)
				}
			}
			scenes := p.scenes()
			p.play(scenes[rapid.IntRange(0, len(scenes)-1).Draw(rt, "scene")], func() operation { return step.Draw(rt, "scene's operation") }, perform)
			rt.Repeat(map[string]func(*rapid.T){"step": func(rt *rapid.T) {
				if err := p.perform(step.Draw(rt, "operation")); err != nil {
					rt.Fatal(err)
				}
			}})
		})
	})
}

// open gives a tenant money, a setting, holds and, in a part of the cases, a debt; or money, a
// window, holds, a later time and then another setting, a hold and a commit. Without them, too
// few of the random operations of a case would meet an account that its settings limit.
func (p *pair) open(tenant budget.TenantID, draw func() operation, perform func(operation)) {
	perform(operation{verb: verbEnsure, tenant: tenant, offset: 1000})
	verbs := []verb{verbReserve, verbConfigure, verbReserve, verbCommit}
	if p.able.windows {
		verbs = []verb{verbConfigure, verbReserve, verbReserve, verbAdvance, verbConfigure, verbReserve, verbCommit}
	}
	for i, verb := range verbs {
		op := draw()
		op.verb, op.instead, op.tenant, op.toward = verb, sameVerb, tenant, op.toward.of(verb)
		if p.able.windows && i > 0 {
			op.window = windowChange{}
		}
		switch {
		case verb == verbAdvance && op.lasts && p.rolls(tenant):
			op.toward = beyondFourth
		case verb == verbReserve:
			op.basis = fromZero
		case verb == verbCommit && op.basis == fromZero:
			op.basis, op.which = fromPayable, 0
		}
		perform(op)
	}
}

// FuzzDifferential is [Differential] for go test -fuzz: the fuzzer's bytes are the
// operations. As an ordinary test it runs a fixed set of random operations.
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

// outcomesToSee lists the outcomes of each operation that one caller can cause. It lacks
// MissingTenant of a settle, because a budget.Engine can't delete tenants.
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

// levelOutcomesToSee lists further outcomes, of tenants with ancestors.
var levelOutcomesToSee = []string{
	"delete deleted", "delete holds_open", "delete missing_tenant", "reserve insufficient at an ancestor", "reserve reserved at an ancestor",
	"commit overrun at an ancestor", "commit committed at an ancestor", "release released at an ancestor", "remaining found at an ancestor",
}

// settingOutcomesToSee lists further outcomes, of accounts with settings. The suite has those
// of an account in debt that are too rare here.
var settingOutcomesToSee = func() []string {
	invalid, overflow := "error: "+budget.ErrInvalidSetting.Error(), "error: "+budget.ErrOverflow.Error()
	all := []string{
		"ensure " + invalid, "ensure " + overflow,
		"reserve frozen", "reserve closed", "reserve capped by hold", "reserve capped by reserved", "reserve capped by holds",
		"commit committed in debt", "grant closed", "commit_available committed", "commit_available committed with a shortfall",
		"commit_available invalid_amount", "commit_available missing_reservation",
		"configure configured", "configure closed", "configure missing_tenant", "configure " + invalid, "configure " + overflow,
		"close configured", "close missing_tenant",
	}
	for _, prior := range []budget.Outcome{budget.Committed, budget.Released} {
		all = append(all, "commit_available missing_reservation after "+prior.String())
	}
	for _, verb := range []verb{verbFreeze, verbUnfreeze} {
		all = append(all, verb.String()+" configured", verb.String()+" closed", verb.String()+" missing_tenant")
	}
	return all
}()

// ancestorSettingOutcomesToSee lists those of tenants whose ancestors have settings.
var ancestorSettingOutcomesToSee = []string{
	"reserve frozen at an ancestor", "reserve closed at an ancestor", "reserve capped by hold at an ancestor",
	"reserve capped by reserved at an ancestor", "reserve capped by holds at an ancestor",
	"commit_available committed at an ancestor",
}

func uncovered(coverage map[string]int, able abilities) []string {
	expected := slices.Clone(outcomesToSee)
	if able.levels {
		expected = append(expected, levelOutcomesToSee...)
	}
	if able.settings {
		expected = append(expected, settingOutcomesToSee...)
	}
	if able.levels && able.settings {
		expected = append(expected, ancestorSettingOutcomesToSee...)
	}
	if able.windows {
		expected = append(expected, windowOutcomesToSee...)
		expected = append(expected, rollingOutcomesToSee...)
	}
	if able.limits {
		expected = append(expected, limitOutcomesToSee...)
	}
	if able.levels && able.limits {
		expected = append(expected, ancestorLimitOutcomesToSee...)
	}
	var lacking []string
	for _, outcome := range expected {
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
