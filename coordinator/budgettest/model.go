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
	verbDelete  // only with levels
	verbLookup  // in random operations only
	verbAdvance // of the clock; in random operations only
	verbAbandon // releases the hold of an unknown reserve; in histories only
)

var verbNames = [...]string{
	"remaining", "balance", "holds", "ensure", "reserve", "commit", "release", "grant", "withdraw", "delete", "lookup", "advance", "abandon",
}

func (v verb) String() string { return verbNames[v] }

// names reports whether the operation takes the ID of a reservation.
func (v verb) names() bool { return v == verbCommit || v == verbRelease || v == verbLookup }

// The maximum numbers of reservations and of accounts in a part of a history that is checked
// alone. With these bounds, a state of the model is arrays that can be compared and copied.
const (
	maxReservations = 48
	maxAccounts     = 4
)

// request is the input of an operation in a history. slot is the number of the reservation
// within its part of the history; a refused reserve has a number, too.
type request struct {
	verb   verb
	tenant budget.TenantID
	amount budget.Microcents
	slot   int

	account int      // number of the tenant's account; an ancestor has a lower number
	levels  accounts // the tenant and its ancestors; 0 if these don't take part
}

// accounts is a set of accounts, by number.
type accounts uint8

func (s accounts) has(account int) bool { return s>>account&1 != 0 }

// response is the output of an operation. It is unknown if the operation returned an error:
// the operation may have taken effect, or may take effect later, or never.
type response struct {
	unknown                     bool
	outcome, prior              budget.Outcome
	remaining, required         budget.Microcents
	level                       int // number of the account plus 1, or 0 without levels
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

// ledger is a state of the model: that of one tenant or, with levels, of a family.
type ledger struct {
	accounts [maxAccounts]terms
	open     [maxReservations]budget.Microcents // by number: the amount held, or 0 if not open
	sets     [maxReservations]accounts          // by number: the accounts that the hold debited
	ended    [maxReservations]budget.Outcome
}

type terms struct {
	exists                       bool
	granted, remaining, expended budget.Microcents
}

// step defines the semantics of the model: it returns the state after an operation, and the
// response.
func (l ledger) step(r request) (ledger, response) {
	own := &l.accounts[r.account]
	switch r.verb {
	case verbEnsure:
		if own.exists {
			return l, response{outcome: budget.Exists, remaining: own.remaining}
		}
		*own = terms{exists: true, granted: r.amount, remaining: r.amount}
		return l, response{outcome: budget.Created, remaining: r.amount}
	case verbReserve:
		return l.reserve(r)
	case verbCommit, verbRelease, verbAbandon:
		return l.settle(r)
	case verbGrant, verbWithdraw:
		return l.adjust(r)
	case verbDelete:
		answer := l.read(r)
		if answer.outcome == budget.Found && answer.reserved > 0 {
			answer.outcome = budget.HoldsOpen
		} else if answer.outcome == budget.Found {
			answer.outcome = budget.Deleted
			*own = terms{}
		}
		return l, answer
	case verbRemaining, verbBalance, verbHolds, verbLookup, verbAdvance:
		return l, l.read(r)
	}
	panic(fmt.Sprintf("budgettest: verb %d", r.verb))
}

// existing returns the levels of a request that exist.
func (l ledger) existing(r request) (levels accounts) {
	for i, account := range l.accounts {
		if account.exists && (r.levels.has(i) || i == r.account) {
			levels |= 1 << i
		}
	}
	return levels
}

// least returns the response completed with the least remaining of the levels.
func (l ledger) least(r request, levels accounts, answer response) response {
	least := -1
	for i := len(l.accounts) - 1; i >= 0; i-- { // the nearest first
		if levels.has(i) && (least < 0 || l.accounts[i].remaining < l.accounts[least].remaining) {
			least = i
		}
	}
	answer.remaining = l.accounts[least].remaining
	if r.levels != 0 {
		answer.level = least + 1
	}
	return answer
}

func (l ledger) reserve(r request) (ledger, response) {
	switch {
	case r.amount <= 0:
		return l, response{outcome: budget.Insufficient, required: r.amount}
	case !l.accounts[r.account].exists:
		return l, response{outcome: budget.MissingTenant}
	}
	levels := l.existing(r)
	if refusal := l.least(r, levels, response{outcome: budget.Insufficient, required: r.amount}); refusal.remaining < r.amount {
		return l, refusal
	}
	l.move(levels, -r.amount, 0)
	l.open[r.slot], l.sets[r.slot] = r.amount, levels
	return l, l.least(r, levels, response{outcome: budget.Reserved})
}

// move changes the remaining and the expended amount of the levels.
func (l *ledger) move(levels accounts, remaining, expended budget.Microcents) {
	for i := range l.accounts {
		if levels.has(i) {
			l.accounts[i].remaining += remaining
			l.accounts[i].expended += expended
		}
	}
}

func (l ledger) settle(r request) (ledger, response) {
	held, levels := l.open[r.slot], l.sets[r.slot]
	switch {
	case r.verb == verbCommit && r.amount < 0:
		return l, response{outcome: budget.InvalidAmount}
	case held == 0:
		return l, response{outcome: budget.MissingReservation, prior: l.ended[r.slot]}
	}
	if refusal := l.least(r, levels, response{outcome: budget.Overrun}); r.verb == verbCommit && r.amount-held > refusal.remaining {
		return l, refusal
	}
	l.open[r.slot], l.sets[r.slot] = 0, 0
	if r.verb == verbCommit {
		l.move(levels, held-r.amount, r.amount)
		l.ended[r.slot] = budget.Committed
		return l, l.least(r, levels, response{outcome: budget.Committed, actual: r.amount})
	}
	l.move(levels, held, 0)
	l.ended[r.slot] = budget.Released
	return l, l.least(r, levels, response{outcome: budget.Released, returned: held})
}

func (l ledger) adjust(r request) (ledger, response) {
	own := &l.accounts[r.account]
	switch {
	case !own.exists:
		return l, response{outcome: budget.MissingTenant}
	case r.verb == verbGrant:
		own.granted += r.amount
		own.remaining += r.amount
		return l, response{outcome: budget.Granted, remaining: own.remaining}
	case own.remaining < r.amount:
		return l, response{outcome: budget.Insufficient, remaining: own.remaining, required: r.amount}
	}
	own.granted -= r.amount
	own.remaining -= r.amount
	return l, response{outcome: budget.Withdrawn, remaining: own.remaining}
}

func (l ledger) read(r request) response {
	own := l.accounts[r.account]
	if !own.exists {
		return response{outcome: budget.MissingTenant}
	}
	answer := response{outcome: budget.Found, remaining: own.remaining}
	if r.verb == verbRemaining {
		return l.least(r, l.existing(r), answer)
	}
	answer.granted, answer.expended = own.granted, own.expended
	for slot, held := range l.open {
		if l.sets[slot].has(r.account) {
			answer.reserved += held
		}
	}
	return answer
}

// explains reports whether the response got to a request is possible, given the state after
// the operation and the model's response.
func (l ledger) explains(r request, model, got response) bool {
	if got.unknown {
		return true
	}
	holds := got.holds
	got.holds = nil
	if got.prior == budget.Unknown { // an engine may forget how a reservation ended
		got.prior = model.prior
	}
	return got == model && (holds == nil || l.shows(r.account, holds))
}

func (l ledger) shows(account int, seen *holdings) bool {
	var strangers []budget.Microcents
	for slot, held := range l.open {
		if !l.sets[slot].has(account) {
			held = 0
		}
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

// engineModel returns the model for porcupine. Tenants are independent, or with levels
// families, so each is checked separately.
func engineModel() porcupine.Model {
	return porcupine.Model{
		Partition: inParts,
		Init:      func() any { return ledger{} },
		Step: func(state, input, output any) (bool, any) {
			in := input.(request)
			next, answer := state.(ledger).step(in)
			return next.explains(in, answer, output.(response)), next
		},
		DescribeOperation: func(input, output any) string { return describe(input.(request), output.(response)) },
	}
}

// part returns the name of the part of a history that an operation belongs to.
func (r request) part() budget.TenantID {
	if r.levels != 0 {
		return r.tenant.Root()
	}
	return r.tenant
}

func inParts(history []porcupine.Operation) [][]porcupine.Operation {
	parts := make(map[budget.TenantID][]porcupine.Operation)
	for _, op := range history {
		part := op.Input.(request).part()
		parts[part] = append(parts[part], op)
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
	case verbRemaining, verbBalance, verbHolds, verbDelete, verbLookup, verbAdvance:
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
