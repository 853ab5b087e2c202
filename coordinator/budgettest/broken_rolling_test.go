package budgettest

import "testing"

// brokenRolling lists the checks of rolling windows that must notice each mistake.
var brokenRolling = map[string]brokenWindow{
	"neverSlides": {neverSlides, []string{
		"a steady load gets back part by part", "nothing returns before its part is older than the period", "every operation returns what has left",
	}},
	"slidesLate":      {slidesLate, []string{"nothing returns before its part is older than the period", "every operation returns what has left"}},
	"slidesEarly":     {slidesEarly, []string{"nothing returns before its part is older than the period", "every operation returns what has left"}},
	"slidesPartLate":  {slidesPartLate, []string{"a steady load gets back part by part", "nothing returns before its part is older than the period"}},
	"slidesPartEarly": {slidesPartEarly, []string{"a steady load gets back part by part", "nothing returns before its part is older than the period"}},
	"slidesOne":       {slidesOne, []string{"a rolling window asleep longer than its period"}},
	"slidesAll": {slidesAll, []string{
		"a steady load gets back part by part", "nothing returns before its part is older than the period", "concurrent operations let a part leave once",
	}},
	"slidesFromSet": {slidesFromSet, []string{"nothing returns before its part is older than the period", "another rolling window has one part"}},
	"slidesHolds": {slidesHolds, []string{
		"a hold is kept longer than its part", "caps of an account with a rolling window", "a commit after its part has left charges nothing",
	}},
	"losesLeft":           {losesLeft, []string{"a steady load gets back part by part", "debt is paid by what leaves", "what leaves is exact at every edge"}},
	"slidesWithoutArming": {slidesWithoutArming, []string{"thresholds can be crossed again after a part has left"}},
	"countsAtCommit": {countsAtCommit, []string{
		"a commit counts in the part in which its hold was made", "a refusal and a read return when the oldest amount leaves",
	}},
	"countsFromSet": {countsFromSet, []string{"a rolling window counts what was committed before", "a rolling window after one of the calendar"}},
	"outsideCountsNow": {outsideCountsNow, []string{
		"a commit after its part has left charges nothing", "a commit that the window of one level doesn't contain",
	}},
	"outsideCountsOldest": {outsideCountsOldest, []string{
		"a commit after its part has left charges nothing", "a commit that the window of one level doesn't contain",
	}},
	"outsideIsChecked": {outsideIsChecked, []string{
		"a commit after its part has left charges nothing", "a commit that the window of one level doesn't contain",
		"a commit that no level's window contains",
	}},
	"outsideLimits": {outsideLimits, []string{
		"a commit after its part has left charges nothing", "a commit that no level's window contains",
	}},
	"outsideEverywhere": {outsideEverywhere, []string{
		"a commit that the window of one level doesn't contain", "levels let their parts leave apart",
	}},
	"outsideCostsNothing": {outsideCostsNothing, []string{"a commit after its part has left charges nothing", "a commit that no level's window contains"}},
	"renewsNextPart": {renewsNextPart, []string{
		"a refusal and a read return when the oldest amount leaves", "a refusal names the rolling window of its level",
	}},
	"renewsNewest":    {renewsNewest, []string{"a steady load gets back part by part", "a refusal and a read return when the oldest amount leaves"}},
	"renewsPartEarly": {renewsPartEarly, []string{"a steady load gets back part by part", "a refusal and a read return when the oldest amount leaves"}},
	"lowersNext": {lowersNext, []string{
		"another amount of a rolling window counts at once", "the first rolling window's amount", "amounts when the kind of a window changes",
	}},
	"lowersToZero":      {lowersToZero, []string{"another amount of a rolling window counts at once", "the first rolling window's amount"}},
	"grantsRaiseAmount": {grantsRaiseAmount, []string{"grants and withdrawals of a rolling window"}},
	"repeatsRing":       {repeatsRing, []string{"a rolling window that is set again keeps its parts", "another amount of a rolling window counts at once"}},
	"convertsRing":      {convertsRing, []string{"another rolling window has one part"}},
	"survives": {survives, []string{
		"a removed rolling window keeps the terms", "a window of the calendar after a rolling one", "a rolling window keeps ended epochs when it is removed",
	}},
	"leavingReturns":    {leavingReturns, []string{"a removed rolling window keeps the terms", "a window of the calendar after a rolling one"}},
	"setReturns":        {setReturns, []string{"a rolling window counts what was committed before", "another rolling window has one part"}},
	"setForgets":        {setForgets, []string{"a rolling window counts what was committed before", "another rolling window has one part"}},
	"rollingDropsEnded": {rollingDropsEnded, []string{"holds of ended epochs settle there after a rolling window was set"}},
	"rollingRestarts":   {rollingRestarts, []string{"holds of ended epochs settle there after a rolling window was set"}},
	"showsStart":        {showsStart, []string{"a rolling window of a new tenant", "a rolling window after one of the calendar"}},
	"latePassesOn": {latePassesOn, []string{
		"holds of ended epochs settle there after a rolling window was set", "the debt of an ended epoch in a rolling window",
	}},
	"ensuresOther":     {ensuresOther, []string{"a rolling window whose amount is not the budget"}},
	"ensuresExisting":  {ensuresExisting, []string{"a rolling window whose amount is not the budget"}},
	"keepsDeletedRing": {keepsDeletedRing, []string{"a rolling window of a recreated tenant"}},
}

func TestBrokenRollingWindowsAreNoticed(t *testing.T) {
	noticeAll(t, "Windows", brokenRolling, lastWindowMistake, lastRollingMistake)
}
