package budgettest

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/calybris/bursar/coordinator/budget"
)

// verb is the kind of an operation, in histories and random operations.
type verb uint8

const (
	verbRemaining verb = iota
	verbBalance
	verbHolds
	verbEnsure
	verbReserve
	verbCommit
	verbRelease
	verbGrant
	verbWithdraw
	verbLookup  // in random operations only
	verbAdvance // of the clock; in random operations only
	verbAbandon // releases the hold of an unknown reserve; in histories only
)

var verbNames = [...]string{
	"remaining", "balance", "holds", "ensure", "reserve", "commit", "release", "grant", "withdraw", "lookup", "advance", "abandon",
}

func (v verb) String() string { return verbNames[v] }

// names reports whether the operation takes the ID of a reservation.
func (v verb) names() bool { return v == verbCommit || v == verbRelease || v == verbLookup }

// maxReservations is the maximum number of reservations of a tenant in a history. With this
// bound, a state of the model is an array that can be compared and copied.
const maxReservations = 48

// request is the input of an operation in a history. slot is the number of the reservation
// within the history of its tenant; a refused reserve has a number, too.
type request struct {
	verb   verb
	tenant budget.TenantID
	amount budget.Microcents
	slot   int
}

// response is the output of an operation. It is unknown if the operation returned an error:
// the operation may have taken effect, or may take effect later, or never.
type response struct {
	unknown                     bool
	outcome, prior              budget.Outcome
	remaining, required         budget.Microcents
	actual, returned            budget.Microcents
	granted, reserved, expended budget.Microcents
	holds                       *holdings
}

// holdings is a list of open holds: the amounts by number if the reserve returned an ID,
// and in strangers the sorted amounts of the other holds, whose reserves are unknown.
type holdings struct {
	known     [maxReservations]budget.Microcents
	strangers []budget.Microcents
	unknown   [maxReservations]bool // by number: whether the reserve is unknown
}

// ledger is a state of the model: that of one tenant.
type ledger struct {
	exists                       bool
	granted, remaining, expended budget.Microcents
	open                         [maxReservations]budget.Microcents // by number: the amount held, or 0 if not open
	ended                        [maxReservations]budget.Outcome
}

// step defines the semantics of the model: it returns the state after an operation, and the
// response.
func (l ledger) step(r request) (ledger, response) {
	switch r.verb {
	case verbEnsure:
		if l.exists {
			return l, response{outcome: budget.Exists, remaining: l.remaining}
		}
		return ledger{exists: true, granted: r.amount, remaining: r.amount}, response{outcome: budget.Created, remaining: r.amount}
	case verbReserve:
		return l.reserve(r)
	case verbCommit, verbRelease, verbAbandon:
		return l.settle(r)
	case verbGrant, verbWithdraw:
		return l.adjust(r)
	case verbRemaining, verbBalance, verbHolds, verbLookup, verbAdvance:
		return l, l.read(r.verb)
	}
	panic(fmt.Sprintf("budgettest: verb %d", r.verb))
}

func (l ledger) reserve(r request) (ledger, response) {
	switch {
	case r.amount <= 0:
		return l, response{outcome: budget.Insufficient, required: r.amount}
	case !l.exists:
		return l, response{outcome: budget.MissingTenant}
	case l.remaining < r.amount:
		return l, response{outcome: budget.Insufficient, remaining: l.remaining, required: r.amount}
	}
	l.remaining -= r.amount
	l.open[r.slot] = r.amount
	return l, response{outcome: budget.Reserved, remaining: l.remaining}
}

func (l ledger) settle(r request) (ledger, response) {
	held := l.open[r.slot]
	switch {
	case r.verb == verbCommit && r.amount < 0:
		return l, response{outcome: budget.InvalidAmount}
	case held == 0:
		return l, response{outcome: budget.MissingReservation, prior: l.ended[r.slot]}
	case r.verb == verbCommit && r.amount-held > l.remaining:
		return l, response{outcome: budget.Overrun, remaining: l.remaining}
	}
	l.open[r.slot] = 0
	if r.verb == verbCommit {
		l.remaining += held - r.amount
		l.expended += r.amount
		l.ended[r.slot] = budget.Committed
		return l, response{outcome: budget.Committed, remaining: l.remaining, actual: r.amount}
	}
	l.remaining += held
	l.ended[r.slot] = budget.Released
	return l, response{outcome: budget.Released, remaining: l.remaining, returned: held}
}

func (l ledger) adjust(r request) (ledger, response) {
	switch {
	case !l.exists:
		return l, response{outcome: budget.MissingTenant}
	case r.verb == verbGrant:
		l.granted += r.amount
		l.remaining += r.amount
		return l, response{outcome: budget.Granted, remaining: l.remaining}
	case l.remaining < r.amount:
		return l, response{outcome: budget.Insufficient, remaining: l.remaining, required: r.amount}
	}
	l.granted -= r.amount
	l.remaining -= r.amount
	return l, response{outcome: budget.Withdrawn, remaining: l.remaining}
}

func (l ledger) read(v verb) response {
	if !l.exists {
		return response{outcome: budget.MissingTenant}
	}
	r := response{outcome: budget.Found, remaining: l.remaining}
	if v == verbRemaining {
		return r
	}
	r.granted, r.expended = l.granted, l.expended
	for _, held := range l.open {
		r.reserved += held
	}
	return r
}

// explains reports whether the response got is possible, given the state after the
// operation and the model's response.
func (l ledger) explains(model, got response) bool {
	if got.unknown {
		return true
	}
	holds := got.holds
	got.holds = nil
	if got.prior == budget.Unknown { // an engine may forget how a reservation ended
		got.prior = model.prior
	}
	return got == model && (holds == nil || l.shows(holds))
}

func (l ledger) shows(seen *holdings) bool {
	var strangers []budget.Microcents
	for slot, held := range l.open {
		if !seen.unknown[slot] {
			if held != seen.known[slot] {
				return false
			}
		} else if held > 0 {
			strangers = append(strangers, held)
		}
	}
	slices.Sort(strangers)
	return slices.Equal(strangers, seen.strangers)
}

// engineModel returns the model for porcupine. Tenants are independent, so each is checked
// separately.
func engineModel() porcupine.Model {
	return porcupine.Model{
		Partition: byTenant,
		Init:      func() any { return ledger{} },
		Step: func(state, input, output any) (bool, any) {
			next, answer := state.(ledger).step(input.(request))
			return next.explains(answer, output.(response)), next
		},
		DescribeOperation: func(input, output any) string { return describe(input.(request), output.(response)) },
	}
}

func byTenant(history []porcupine.Operation) [][]porcupine.Operation {
	parts := make(map[budget.TenantID][]porcupine.Operation)
	for _, op := range history {
		tenant := op.Input.(request).tenant
		parts[tenant] = append(parts[tenant], op)
	}
	var all [][]porcupine.Operation
	for _, part := range parts {
		all = append(all, part)
	}
	return all
}

func describe(in request, out response) string {
	question := fmt.Sprintf("%s %s", in.verb, in.tenant)
	switch in.verb {
	case verbReserve:
		question += fmt.Sprintf(" %d as r%d", in.amount, in.slot)
	case verbCommit:
		question += fmt.Sprintf(" r%d at %d", in.slot, in.amount)
	case verbRelease, verbAbandon:
		question += fmt.Sprintf(" r%d", in.slot)
	case verbEnsure, verbGrant, verbWithdraw:
		question += fmt.Sprintf(" %d", in.amount)
	case verbRemaining, verbBalance, verbHolds, verbLookup, verbAdvance:
	}
	if out.unknown {
		return question + " -> no answer"
	}
	holds := out.holds
	out.holds = nil
	answer := fmt.Sprintf("%s -> %+v", question, out)
	if holds != nil {
		answer += fmt.Sprintf(" with holds %v, strangers %v", holds.known, holds.strangers)
	}
	return answer
}
