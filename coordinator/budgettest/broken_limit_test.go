package budgettest

import (
	"context"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// brokenLimits lists the checks of limits that must notice each mistake.
var brokenLimits = map[string]struct {
	brokenWindow
	alone bool // Differential must detect it as well
}{
	"skipsLimits": {brokenWindow{skipsLimits, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"a reserve debits every limit or none",
		"concurrent reserves spend a limit and no more",
		"no reserve exceeds a limit once it is set",
	}}, true},
	"skipsAncestorLimits": {brokenWindow{skipsAncestorLimits, []string{
		"a reserve debits every limit of every level or none",
		"a settle moves every limit of every level",
		"thresholds of the limits of each level",
	}}, true},
	"skipsLastLimit": {brokenWindow{skipsLastLimit, []string{"a reserve debits every limit or none", "a settle moves every limit"}}, true},
	"debitsBeforeLimits": {brokenWindow{debitsBeforeLimits, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"a reserve debits every limit or none",
	}}, true},
	"debitsLimitsInTurn": {brokenWindow{debitsLimitsInTurn, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"a reserve debits every limit or none",
	}}, true},
	"checksLimitsFirst": {brokenWindow{checksLimitsFirst, []string{
		"each check is made at all levels before their limits",
		"closed, frozen and caps before limits",
		"limits of a closed or frozen tenant",
	}}, true},
	"refusesByFirst": {brokenWindow{refusesByFirst, []string{
		"a reserve debits every limit of every level or none",
		"a refusal and a read name the limit and when it renews",
	}}, true},
	"surplusToBase": {brokenWindow{surplusToBase, []string{"a settle moves every limit", "a settle moves every limit of every level"}}, true},
	"excessFromBase": {brokenWindow{excessFromBase, []string{
		"a settle moves every limit",
		"an excess is covered by every limit, or moves nothing",
		"a settle moves every limit of every level",
	}}, true},
	"expiresAtBase":  {brokenWindow{expiresAtBase, []string{"a hold expires in every limit", "a settle moves every limit of every level"}}, true},
	"releasesAtBase": {brokenWindow{releasesAtBase, []string{"a settle moves every limit", "a settle moves every limit of every level"}}, true},
	"endsInLaterLimits": {brokenWindow{endsInLaterLimits, []string{
		"a limit that is set later doesn't count a hold",
		"limits of a level that are set or removed",
		"a limit that is removed and set again doesn't count a hold",
	}}, true},
	"endsInLimitSetAgain": {brokenWindow{endsInLimitSetAgain, []string{
		"limits of a level that are set or removed",
		"a limit that is removed and set again doesn't count a hold",
		"a limit with holds of ended epochs is removed",
	}}, true},
	"limitsBeforeBase": {brokenWindow{limitsBeforeBase, []string{
		"of equal limits the first is named",
		"of equal limits the nearest level's first is named",
	}}, true},
	"limitsBackwards":    {brokenWindow{limitsBackwards, []string{"of equal limits the first is named"}}, true},
	"limitsAfterParents": {brokenWindow{limitsAfterParents, []string{"of equal limits the nearest level's first is named"}}, true},
	"reservesNameNoLimit": {brokenWindow{reservesNameNoLimit, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"of equal limits the first is named",
		"a reserve debits every limit of every level or none",
	}}, true},
	"refusalsNameNoLimit": {brokenWindow{refusalsNameNoLimit, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"a refusal and a read name the limit and when it renews",
		"a reserve debits every limit of every level or none",
	}}, true},
	"settlesNameNoLimit": {brokenWindow{settlesNameNoLimit, []string{
		"a settle moves every limit",
		"of equal limits the first is named",
		"a settle moves every limit of every level",
	}}, true},
	"overrunsNameNoLimit": {brokenWindow{overrunsNameNoLimit, []string{
		"an excess is covered by every limit, or moves nothing",
		"an excess is covered by the limits of every level, or moves nothing",
	}}, true},
	"readsNameNoLimit": {brokenWindow{readsNameNoLimit, []string{
		"a refusal and a read name the limit and when it renews",
		"a reserve debits every limit of every level or none",
	}}, true},
	"renewsOfBase": {brokenWindow{renewsOfBase, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"a refusal and a read name the limit and when it renews",
		"a reserve debits every limit of every level or none",
	}}, true},
	"readsBaseOnly": {brokenWindow{readsBaseOnly, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"a refusal and a read name the limit and when it renews",
		"a reserve debits every limit of every level or none",
	}}, true},
	"coversByBase": {brokenWindow{coversByBase, []string{
		"an excess is covered by every limit, or moves nothing",
		"an excess is covered by the limits of every level, or moves nothing",
	}}, true},
	"availableOfBase": {brokenWindow{availableOfBase, []string{
		"commit available charges the least amount of all limits",
		"commit available charges the least amount of the limits of all levels",
	}}, true},
	"overdrawsOfBase": {brokenWindow{overdrawsOfBase, []string{
		"the overdraft of a limit is its own",
		"commit available charges the least amount of all limits",
	}}, true},
	"overdrawsNoLimit": {brokenWindow{overdrawsNoLimit, []string{"the overdraft of a limit is its own", "limits exact at every edge"}}, true},
	"capsByLimits":     {brokenWindow{capsByLimits, []string{"closed, frozen and caps before limits"}}, true},
	"limitsRollWithBase": {brokenWindow{limitsRollWithBase, []string{
		"a day and a month: the day refuses, and the month is untouched",
		"limits with boundaries at the same instant",
		"limits are listed as of their present epochs",
	}}, true},
	"limitsRollTogether": {brokenWindow{limitsRollTogether, []string{
		"a commit after the day but within the month",
		"limits are listed as of their present epochs",
		"the epoch of a limit at a time",
	}}, true},
	"limitsSettleCurrent": {brokenWindow{limitsSettleCurrent, []string{
		"a commit after the day but within the month",
		"the epochs of the limits of levels begin apart",
		"a late excess is covered by every limit, or moves nothing",
	}}, true},
	"limitsSettleByBase": {brokenWindow{limitsSettleByBase, []string{
		"a commit after the day but within the month",
		"the epochs of the limits of levels begin apart",
		"a late excess is covered by every limit, or moves nothing",
	}}, true},
	"crossesBaseOnly": {brokenWindow{crossesBaseOnly, []string{
		"thresholds of a limit that changes",
		"thresholds of the limits of each level",
		"thresholds of a limit",
	}}, false},
	"crossesUnnamed": {brokenWindow{crossesUnnamed, []string{
		"thresholds of a limit that changes",
		"thresholds of the limits of each level",
		"thresholds of a limit",
	}}, false},
	"keepsRemoved": {brokenWindow{keepsRemoved, []string{
		"a recreated tenant has no limits",
		"a removed limit is gone",
		"a limit with holds of ended epochs is removed",
	}}, true},
	"removesNothing": {brokenWindow{removesNothing, []string{"a removed limit is gone", "a removed limit doesn't count its holds"}}, true},
	"removesWithoutHolds": {brokenWindow{removesWithoutHolds, []string{
		"a removed limit doesn't count its holds",
		"limits of a level that are set or removed",
	}}, true},
	"removesPresent":      {brokenWindow{removesPresent, []string{"a removed limit is gone"}}, true},
	"configuresBaseFirst": {brokenWindow{configuresBaseFirst, []string{"a change that fails changes nothing"}}, true},
	"configuresInTurn":    {brokenWindow{configuresInTurn, []string{"a change that fails changes nothing"}}, true},
	"configuresBeyondLimit": {brokenWindow{configuresBeyondLimit, []string{
		"amounts and overdrafts of a limit beyond 64 bits",
		"a change that fails changes nothing",
	}}, true},
	"overflowsFirst": {brokenWindow{overflowsFirst, []string{"a change that fails changes nothing"}}, true},
	"tooManyFirst":   {brokenWindow{tooManyFirst, []string{"at most four limits"}}, true},
	"countsNoLimits": {brokenWindow{countsNoLimits, []string{"at most four limits", "a change that fails changes nothing"}}, true},
	"countsRemoved":  {brokenWindow{countsRemoved, []string{"at most four limits"}}, true},
	"countsChanged":  {brokenWindow{countsChanged, []string{"at most four limits", "a change that fails changes nothing"}}, true},
	"limitsOfClosed": {brokenWindow{limitsOfClosed, []string{"at most four limits", "limits of a closed or frozen tenant"}}, true},
	"limitsOfFrozen": {brokenWindow{limitsOfFrozen, []string{"limits of a closed or frozen tenant"}}, true},
	"restartsLimit": {brokenWindow{restartsLimit, []string{
		"a limit that is set again changes nothing",
		"a raised amount of a limit counts at once, a lowered one from the next epoch",
	}}, true},
	"keepsLimitOverdraft":  {brokenWindow{keepsLimitOverdraft, []string{"all fields of a limit that is set count"}}, true},
	"keepsLimitThresholds": {brokenWindow{keepsLimitThresholds, []string{"all fields of a limit that is set count"}}, true},
	"keepsLimitCarry":      {brokenWindow{keepsLimitCarry, []string{"all fields of a limit that is set count"}}, true},
	"raisesLimitNext": {brokenWindow{raisesLimitNext, []string{
		"a raised amount of a limit counts at once, a lowered one from the next epoch",
		"another amount of a rolling limit counts at once",
	}}, true},
	"lowersLimitNow": {brokenWindow{lowersLimitNow, []string{
		"a raised amount of a limit counts at once, a lowered one from the next epoch",
		"amounts and overdrafts of a limit beyond 64 bits",
		"a change that fails changes nothing",
	}}, true},
	"keepsLimitBoundary":    {brokenWindow{keepsLimitBoundary, []string{"a changed calendar of a limit ends its epoch at the first boundary"}}, true},
	"ensuresLimitsOfOthers": {brokenWindow{ensuresLimitsOfOthers, []string{"ensuring an existing tenant changes no limit"}}, true},
	"ensuresNoLimits":       {brokenWindow{ensuresNoLimits, []string{"limits of a new tenant"}}, true},
	"beginsWithBudget":      {brokenWindow{beginsWithBudget, []string{"limits of a new tenant"}}, true},
	"beginsWithSpent":       {brokenWindow{beginsWithSpent, []string{"a new limit begins with its whole amount"}}, true},
	"keepsDeletedLimits":    {brokenWindow{keepsDeletedLimits, []string{"a recreated tenant has no limits"}}, true},
	"deletesBaseOnly": {brokenWindow{deletesBaseOnly, []string{
		"limits of a level that is created or deleted",
		"a recreated tenant has no limits",
	}}, true},
	"noEpochFirst": {brokenWindow{noEpochFirst, []string{
		"the balance of a limit that a tenant doesn't have",
		"ensuring an existing tenant changes no limit",
		"limits of a new tenant",
	}}, true},
	"absentIsBase": {brokenWindow{absentIsBase, []string{
		"the balance of a limit that a tenant doesn't have",
		"ensuring an existing tenant changes no limit",
		"limits of a new tenant",
	}}, true},
	"epochsOfBase":      {brokenWindow{epochsOfBase, []string{"the epoch of a limit at a time", "a commit after the day but within the month"}}, true},
	"hidesLimit":        {brokenWindow{hidesLimit, []string{"limits are listed in the order of their periods", "limits of a new tenant"}}, true},
	"hidesLimits":       {brokenWindow{hidesLimits, []string{"limits are listed in the order of their periods", "a tree shows the periods of limits"}}, true},
	"showsBaseSettings": {brokenWindow{showsBaseSettings, []string{"limits are listed in the order of their periods"}}, true},
	"listsBackwards":    {brokenWindow{listsBackwards, []string{"limits are listed in the order of their periods"}}, true},
	"listsTwice":        {brokenWindow{listsTwice, []string{"limits are of one instant"}}, false},
	"adjustsLimits":     {brokenWindow{adjustsLimits, []string{"grants and withdrawals concern the base limit"}}, true},
	"skipsLimitFunds": {brokenWindow{skipsLimitFunds, []string{
		"a day and a month: the day refuses, and the month is untouched", "concurrent reserves spend a limit and no more",
		"no reserve exceeds a limit once it is set",
	}}, true},
}

func TestBrokenLimitsAreNoticed(t *testing.T) {
	table := make(map[string]brokenWindow, len(brokenLimits))
	for name, b := range brokenLimits {
		table[name] = b.brokenWindow
	}
	noticeAll(t, "Limits", table, lastRollingMistake, lastLimitMistake)
}

func TestBrokenLimitsDiffer(t *testing.T) {
	for name, b := range brokenLimits {
		if !b.alone {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !differs(t, mistaken(b.mistake)) {
				t.Error("the differential passes")
			}
		})
	}
}

// limitTwoSteps checks the limits and reserves in two steps.
type limitTwoSteps struct{ *naive }

func (e limitTwoSteps) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	left, err := e.Remaining(ctx, tenant)
	if err != nil || left.Outcome != budget.Found || left.Limit == budget.NoPeriod || left.Remaining >= cost {
		time.Sleep(10 * time.Microsecond) // let others reserve
		return e.naive.TryReserve(ctx, tenant, cost, opts...)
	}
	return budget.Reservation{
		Outcome: budget.Insufficient, Remaining: left.Remaining, Level: left.Level, Limit: left.Limit, Required: cost, Renews: left.Renews,
	}, nil
}

func TestLimitsCheckedInTwoStepsAreNoticed(t *testing.T) {
	t.Parallel()
	f := func(_ testing.TB, c Config) Subject {
		e := newNaive(c)
		e.mistake = skipsLimitFunds
		return Subject{Engine: limitTwoSteps{e}, Settings: true, Windows: true, Limits: true}
	}
	if passes(t, f, "Limits/concurrent reserves spend a limit and no more") {
		t.Error("the check passes")
	}
}
