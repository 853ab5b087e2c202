package budgettest

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
)

// answer holds the result of any operation, so that two results can be compared as a whole.
// Engines choose their own IDs, so it holds only whether there is one.
type answer struct {
	Outcome, Prior      budget.Outcome
	Remaining, Required budget.Microcents
	Level               budget.TenantID
	Limit               budget.Period
	Actual, Returned    budget.Microcents
	Shortfall           budget.Microcents
	Cap                 budget.Cap
	CapLimit            int64
	Renews              budget.Instant
	Settings            budget.Settings // of Configure and the like
	HasID               bool
	Fate                budget.Fate
	Account             account                   // of Balance and Holds
	Limits              map[budget.Period]account // of Limits
	Err                 string                    // see errorName
}

func settlementAnswer(res budget.Settlement, err error) answer {
	return answer{
		Outcome: res.Outcome, Prior: res.Prior, Remaining: res.Remaining, Level: res.Level, Limit: res.Limit, Actual: res.Actual, Returned: res.Returned,
		Shortfall: res.Shortfall, Err: errorName(err),
	}
}

func configurationAnswer(res budget.Configuration, err error) answer {
	return answer{Outcome: res.Outcome, Settings: res.Settings, Err: errorName(err)}
}

// errorName returns the text of the budget error that err wraps, "other: " and the whole
// text if it wraps none, or "" if err is nil.
func errorName(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, budget.ErrInvalidAmount):
		return budget.ErrInvalidAmount.Error()
	case errors.Is(err, budget.ErrOverflow):
		return budget.ErrOverflow.Error()
	case errors.Is(err, budget.ErrInvalidSetting):
		return budget.ErrInvalidSetting.Error()
	case errors.Is(err, budget.ErrNoEpoch):
		return budget.ErrNoEpoch.Error()
	case errors.Is(err, budget.ErrNoLimit):
		return budget.ErrNoLimit.Error()
	case errors.Is(err, budget.ErrTooManyLimits):
		return budget.ErrTooManyLimits.Error()
	default:
		return "other: " + err.Error()
	}
}

// key returns a name for the outcome or the error, to count them.
func (a answer) key() string {
	switch {
	case a.Err != "":
		return "error: " + a.Err
	case a.Prior != budget.Unknown:
		return a.Outcome.String() + " after " + a.Prior.String()
	case a.Cap != budget.NoCap:
		return a.Outcome.String() + " by " + a.Cap.String()
	case a.Shortfall > 0:
		return a.Outcome.String() + " with a shortfall"
	case a.Remaining < 0:
		return a.Outcome.String() + " in debt"
	default:
		return a.Outcome.String()
	}
}

func compareAnswers(want, got answer) error {
	if reflect.DeepEqual(want, got) { // which is much faster
		return nil
	}
	if diff := cmp.Diff(want, got, byPercents); diff != "" {
		return fmt.Errorf("the answers differ (-reference +subject):\n%s", diff)
	}
	return nil
}
