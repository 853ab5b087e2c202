package trace

import "github.com/calybris/bursar/coordinator/budget"

// Trace is a recorded run: its operations in the order of the file.
type Trace struct {
	Name       string // the file, as differences and errors name it
	Operations []Operation
}

// Operation is one line of a trace.
type Operation struct {
	Line   int // counted from 1
	Kind   Kind
	Tenant budget.TenantID   // of an ensure, a reserve, a remaining
	Amount budget.Microcents // the budget, the cost or the actual cost
	Name   string            // what stands for the reservation id: a reserve gives it, a commit and a release use it
	Want   Answer            // an ensure has none
}

// Kind says what an operation does.
type Kind string

// The kinds, as the field "op" spells them.
const (
	Ensure    Kind = "ensure"
	Reserve   Kind = "reserve"
	Commit    Kind = "commit"
	Release   Kind = "release"
	Remaining Kind = "remaining"
)

// Answer is an outcome with the amounts that it carries, each under the name
// that a trace gives it. An amount that is not carried is absent, not zero.
type Answer struct {
	Outcome budget.Outcome
	Amounts map[string]budget.Microcents
}

// The amounts of answers.
const (
	remaining = "remaining"
	required  = "required"
	actual    = "actual"
	returned  = "returned"
)

// amountNames fixes the order in which amounts are compared and reported.
var amountNames = []string{remaining, required, actual, returned}

// carried lists the outcomes that a trace can record, and the amounts of each.
var carried = map[budget.Outcome][]string{
	budget.Reserved:           {remaining},
	budget.Insufficient:       {remaining, required},
	budget.MissingTenant:      nil,
	budget.Committed:          {remaining, actual},
	budget.Released:           {remaining, returned},
	budget.Overrun:            {remaining},
	budget.InvalidAmount:      nil,
	budget.MissingReservation: nil,
	budget.Found:              {remaining},
}
