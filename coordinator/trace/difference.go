package trace

import (
	"fmt"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// Difference is a field of a result in which an engine and a trace differ.
type Difference struct {
	File      string
	Line      int
	Operation string // for example "reserve acme"
	Field     string
	Want, Got string // "nothing" if the result doesn't have the field
}

// String returns the difference as one line, for example
// "seed-01.jsonl:7: reserve acme: remaining: want 5, got 7".
func (d Difference) String() string {
	return fmt.Sprintf("%s:%d: %s: %s: want %s, got %s", d.File, d.Line, d.Operation, d.Field, d.Want, d.Got)
}

// compare returns the fields in which the recorded and the engine's result differ. If the
// outcomes differ, an amount that only one result has follows from that and isn't reported.
func (op Operation) compare(file string, got Answer) []Difference {
	var found []Difference
	add := func(field, want, got string) {
		found = append(found, Difference{File: file, Line: op.Line, Operation: op.String(), Field: field, Want: want, Got: got})
	}
	same := op.Want.Outcome == got.Outcome
	if !same {
		add("outcome", op.Want.Outcome.String(), got.Outcome.String())
	}
	for _, name := range amountNames {
		w, wanted := op.Want.Amounts[name]
		g, answered := got.Amounts[name]
		switch {
		case wanted && answered && w != g:
			add(name, digits(w), digits(g))
		case wanted && !answered && same:
			add(name, digits(w), "nothing")
		case answered && !wanted && same:
			add(name, "nothing", digits(g))
		}
	}
	return found
}

// String returns the kind of the operation, and its tenant or the name of its reservation.
func (op Operation) String() string {
	if op.Kind == Commit || op.Kind == Release {
		return string(op.Kind) + " " + wording.Name(op.Name)
	}
	return string(op.Kind) + " " + wording.Name(op.Tenant)
}

func digits(amount budget.Microcents) string { return strconv.FormatInt(int64(amount), 10) }
