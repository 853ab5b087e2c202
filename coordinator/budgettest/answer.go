package budgettest

import (
	"errors"
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
)

// answer is any result in one form, so that two are compared as a whole. Ids are
// engines' own, so a reservation's is replaced by whether there is one.
type answer struct {
	Outcome, Prior      budget.Outcome
	Remaining, Required budget.Microcents
	Actual, Returned    budget.Microcents
	HasID               bool
	Fate                budget.Fate
	Account             account // of balance and holds
	Err                 string  // the model's sentinel, or "other"
}

func settlementAnswer(res budget.Settlement, err error) answer {
	return answer{
		Outcome: res.Outcome, Prior: res.Prior, Remaining: res.Remaining, Actual: res.Actual, Returned: res.Returned, Err: errorName(err),
	}
}

// errorName reduces an error to what the model says about it.
func errorName(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, budget.ErrInvalidAmount):
		return budget.ErrInvalidAmount.Error()
	case errors.Is(err, budget.ErrOverflow):
		return budget.ErrOverflow.Error()
	default:
		return "other: " + err.Error()
	}
}

// key names what happened, for the count of outcomes.
func (a answer) key() string {
	switch {
	case a.Err != "":
		return "error: " + a.Err
	case a.Prior != budget.Unknown:
		return a.Outcome.String() + " after " + a.Prior.String()
	default:
		return a.Outcome.String()
	}
}

func compareAnswers(want, got answer) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the answers differ (-reference +subject):\n%s", diff)
	}
	return nil
}
