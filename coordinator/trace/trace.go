package trace

import "github.com/calybris/bursar/coordinator/budget"

// Trace is a recorded run: its operations in the order of the file.
type Trace struct {
	Name       string // of the file, for differences and errors
	Operations []Operation
}

// Operation is one line of a trace.
type Operation struct {
	Line   int // counted from 1
	Kind   Kind
	Tenant budget.TenantID   // of an ensure, a reserve or a remaining
	Amount budget.Microcents // the budget, the cost or the actual cost
	Name   string            // of the reservation: "as" of a reserve, "id" of a commit or release
	Want   Answer            // zero for an ensure
}

// Kind is the kind of an operation.
type Kind string

// The kinds, as in the field "op".
const (
	Ensure    Kind = "ensure"
	Reserve   Kind = "reserve"
	Commit    Kind = "commit"
	Release   Kind = "release"
	Remaining Kind = "remaining"
)

// Answer is an outcome and the amounts that belong to it, by their names in a trace. Other
// amounts are absent, not zero.
type Answer struct {
	Outcome budget.Outcome
	Amounts map[string]budget.Microcents
}

// The names of the amounts.
const (
	remaining = "remaining"
	required  = "required"
	actual    = "actual"
	returned  = "returned"
)

// amountNames lists the amounts in the order in which they are compared and reported.
var amountNames = []string{remaining, required, actual, returned}

// carried maps each outcome that a trace can record to its amounts.
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
