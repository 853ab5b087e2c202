package budgettest

import "testing"

// brokenWindow is a mistake of the naive engine, with the checks of windows that must notice it.
type brokenWindow struct {
	mistake mistake
	noticed []string
}

var brokenWindows = map[string]brokenWindow{
	"neverRolls": {neverRolls, []string{
		"an epoch begins at its boundary and not before", "every operation begins the epoch", "epochs of every period",
		"concurrent operations begin an epoch once",
	}},
	"rollsOnce": {rollsOnce, []string{"an account asleep for a month rolls once", "boundaries far ahead"}},
	"rollsTwice": {rollsTwice, []string{
		"what remains is carried as far as the window says", "debt is carried, also beyond an epoch's amount",
	}},
	"rollsLate": {rollsLate, []string{
		"an epoch begins at its boundary and not before", "every operation begins the epoch", "days of 23 and 25 hours in Berlin",
	}},
	"rollsEarly": {rollsEarly, []string{
		"an epoch begins at its boundary and not before", "every operation begins the epoch", "days of 23 and 25 hours in Berlin",
	}},
	"rollsBeforeDue": {rollsBeforeDue, []string{"holds that are due end before the epoch does"}},
	"rollsTenantOnly": {rollsTenantOnly, []string{
		"a reserve begins the epoch of each level", "a reserve and a read let the parts of each level leave",
	}},
	"sleepsFrozen": {sleepsFrozen, []string{"a frozen or closed account begins epochs", "a rolling window of a frozen or closed account"}},
	"sleepsClosed": {sleepsClosed, []string{"a frozen or closed account begins epochs", "a rolling window of a frozen or closed account"}},
	"startsAtOperation": {startsAtOperation, []string{
		"an epoch begins at its boundary and not before", "an account asleep for a month rolls once",
	}},
	"forgetsDebt": {forgetsDebt, []string{
		"debt is carried, also beyond an epoch's amount", "what remains is carried as far as the window says",
	}},
	"forgivesByEpoch": {forgivesByEpoch, []string{
		"debt is carried, also beyond an epoch's amount", "an account asleep for a month rolls once",
	}},
	"carriesAll": {carriesAll, []string{
		"what remains is carried as far as the window says", "an account asleep for a month rolls once",
		"a late surplus passes on as far as the window says",
	}},
	"carriesNothing":  {carriesNothing, []string{"what remains is carried as far as the window says", "carried amounts exact at every edge"}},
	"carriesBeyond64": {carriesBeyond64, []string{"carried amounts exact at every edge", "amounts and overdrafts beyond 64 bits are errors"}},
	"keepsMoved": {keepsMoved, []string{
		"what remains is carried as far as the window says", "a late surplus passes on as far as the window says",
	}},
	"settlesCurrent": {settlesCurrent, []string{
		"a commit one and two boundaries later", "a late surplus passes on as far as the window says", "a hold has an epoch at each level",
	}},
	"settlesNewestEnded": {settlesNewestEnded, []string{
		"a commit one and two boundaries later", "holds of several epochs end each in its own",
	}},
	"losesLate": {losesLate, []string{
		"a late surplus passes on as far as the window says", "a late release and expiry are a surplus, too",
		"a late surplus pays the debt that was passed on",
	}},
	"lateIgnoresCap": {lateIgnoresCap, []string{
		"a late surplus passes on as far as the window says", "a commit one and two boundaries later",
		"a late surplus pays the debt that was passed on",
	}},
	"lateBeyond64": {lateBeyond64, []string{"a late surplus stays behind if there is no room"}},
	"roomWraps":    {roomWraps, []string{"a late surplus after an overdraft was lowered"}},
	"coversByCurrent": {coversByCurrent, []string{
		"a late excess is covered by its epoch and the current one", "a late excess is covered at every level, or moves nothing",
	}},
	"coversByOwn": {coversByOwn, []string{
		"a late excess is covered by its epoch and the current one", "a late commit of the available amount",
	}},
	"coversWithoutOverdraft": {coversWithoutOverdraft, []string{"a late excess with an overdraft", "late commits exact at every edge"}},
	"coversByDebt":           {coversByDebt, []string{"a late excess with an overdraft"}},
	"coversBeyond64":         {coversBeyond64, []string{"a late excess beyond 64 bits of its epoch"}},
	"lateTakesBack":          {lateTakesBack, []string{"a late excess is paid by its own epoch first"}},
	"raisesNext": {raisesNext, []string{
		"a raised amount counts at once, a lowered one from the next epoch", "the first window's amount",
		"another amount of a rolling window counts at once", "the first rolling window's amount",
	}},
	"raisesNew": {raisesNew, []string{"a window of a new tenant"}},
	"lowersNow": {lowersNow, []string{
		"a raised amount counts at once, a lowered one from the next epoch", "the first window's amount",
	}},
	"resetsFirst":   {resetsFirst, []string{"the first window keeps the terms and the holds"}},
	"restartsEpoch": {restartsEpoch, []string{"a window that is set again changes nothing", "a changed period ends the epoch at its first boundary"}},
	"keepsBoundary": {keepsBoundary, []string{"a changed period ends the epoch at its first boundary"}},
	"forgetsAmount": {forgetsAmount, []string{
		"a raised amount counts at once, a lowered one from the next epoch", "a changed period ends the epoch at its first boundary",
	}},
	"dropsAtRemoval": {dropsAtRemoval, []string{"a removed window ends no epoch"}},
	"startsAgain":    {startsAgain, []string{"a window after a removed one"}},
	"keepsTwo":       {keepsTwo, []string{"the last three ended epochs are kept"}},
	"keepsFour":      {keepsFour, []string{"the last three ended epochs are kept", "an ended epoch with holds is kept"}},
	"dropsHolds":     {dropsHolds, []string{"an ended epoch with holds is kept", "holds of several epochs end each in its own"}},
	"dropsSettled":   {dropsSettled, []string{"an ended epoch with holds is kept"}},
	"includesEnd":    {includesEnd, []string{"the epoch at a time", "an epoch begins at its boundary and not before"}},
	"hidesRenews": {hidesRenews, []string{
		"an epoch begins at its boundary and not before", "a refusal and a read name the window of their level",
		"a refusal and a read return when the oldest amount leaves",
	}},
	"deletesEnded":         {deletesEnded, []string{"an account with holds of an ended epoch is not deleted"}},
	"keepsDeleted":         {keepsDeleted, []string{"an account with holds of an ended epoch is not deleted"}},
	"capsForgetEnded":      {capsForgetEnded, []string{"caps count the holds of all epochs", "caps of an account with a rolling window"}},
	"capsForgetEndedHolds": {capsForgetEndedHolds, []string{"caps count the holds of all epochs", "caps of an account with a rolling window"}},
	"crossesFirstEpoch":    {crossesFirstEpoch, []string{"thresholds can be crossed in each epoch"}},
	"crossesOfLast":        {crossesOfLast, []string{"thresholds can be crossed in each epoch"}},
	"configuresBeyondAmount": {configuresBeyondAmount, []string{
		"amounts and overdrafts beyond 64 bits are errors", "a rolling window's amount beyond 64 bits",
	}},
	"listsUnrolled": {listsUnrolled, []string{"a tree shows the present epochs", "a tree shows what rolling windows contain"}},
}

func TestBrokenWindowsAreNoticed(t *testing.T) {
	noticeAll(t, "Windows", brokenWindows, firstWindowMistake, lastWindowMistake)
}

// noticeAll checks that the checks notice the mistakes of a table, which must have all between
// first and last.
func noticeAll(t *testing.T, suite string, table map[string]brokenWindow, first, last mistake) {
	seen := make(map[mistake]bool)
	for name, b := range table {
		seen[b.mistake] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, check := range b.noticed {
				if passes(t, mistaken(b.mistake), suite+"/"+check) {
					t.Errorf("%q passes", check)
				}
			}
		})
	}
	for m := first + 1; m < last; m++ {
		if !seen[m] {
			t.Errorf("mistake %d is not in the table", m)
		}
	}
}
