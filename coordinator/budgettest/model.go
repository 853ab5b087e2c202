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
	verbDelete // only with levels

	verbCommitAvailable // this and the following only with settings
	verbConfigure
	verbFreeze
	verbUnfreeze
	verbClose

	verbLookup  // in random operations only
	verbAdvance // of the clock; in random operations only
	verbAbandon // releases the hold of an unknown reserve; in histories only
)

var verbNames = [...]string{
	"remaining", "balance", "holds", "ensure", "reserve", "commit", "release", "grant", "withdraw", "delete",
	"commit_available", "configure", "freeze", "unfreeze", "close", "lookup", "advance", "abandon",
}

func (v verb) String() string { return verbNames[v] }

// names reports whether the operation takes the ID of a reservation.
func (v verb) names() bool { return v.settles() || v == verbLookup }

func (v verb) settles() bool { return v == verbCommit || v == verbCommitAvailable || v == verbRelease }

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

	setting setting // of verbConfigure, with the amount

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
	shortfall                   budget.Microcents
	granted, reserved, expended budget.Microcents
	cap                         budget.Cap
	capLimit                    int64
	settings                    budget.Settings // of a balance, or after a change
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
	settings                     budget.Settings
}

// payable returns the amount that a settle can spend.
func (a terms) payable() budget.Microcents { return a.remaining + a.settings.Overdraft }

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
	case verbCommit, verbCommitAvailable, verbRelease, verbAbandon:
		return l.settle(r)
	case verbConfigure, verbFreeze, verbUnfreeze, verbClose:
		return l.configure(r)
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

// at returns the response completed with an account and its remaining amount.
func (l ledger) at(r request, account int, answer response) response {
	answer.remaining = l.accounts[account].remaining
	if r.levels != 0 {
		answer.level = account + 1
	}
	return answer
}

// leastOf returns the account with the least amount of the levels, of equals the nearest.
func (l ledger) leastOf(levels accounts, amount func(terms) budget.Microcents) int {
	least := -1
	for i := len(l.accounts) - 1; i >= 0; i-- { // the nearest first
		if levels.has(i) && (least < 0 || amount(l.accounts[i]) < amount(l.accounts[least])) {
			least = i
		}
	}
	return least
}

// least returns the response completed with the least remaining of the levels.
func (l ledger) least(r request, levels accounts, answer response) response {
	return l.at(r, l.leastOf(levels, func(a terms) budget.Microcents { return a.remaining }), answer)
}

// free returns the response with the part of a remaining amount that can be taken.
func (a response) free() response {
	a.remaining = max(a.remaining, 0)
	return a
}

// refusal returns the response of the nearest level that a setting lets refuse a reserve: by
// the first check that fails.
func (l ledger) refusal(r request, levels accounts) (response, bool) {
	for _, check := range []func(account int) response{
		func(account int) (answer response) {
			if l.accounts[account].settings.Closed {
				answer.outcome = budget.Closed
			}
			return answer
		},
		func(account int) (answer response) {
			if l.accounts[account].settings.Frozen {
				answer.outcome = budget.Frozen
			}
			return answer
		},
		func(account int) (answer response) {
			reserved, holds := l.held(account)
			answer.cap, answer.capLimit = l.accounts[account].settings.CappedBy(r.amount, reserved, holds)
			if answer.cap != budget.NoCap {
				answer.outcome = budget.Capped
			}
			return answer
		},
	} {
		for i := len(l.accounts) - 1; i >= 0; i-- {
			if !levels.has(i) {
				continue
			}
			if answer := check(i); answer.outcome != budget.Unknown {
				answer = l.at(r, i, answer)
				answer.remaining = 0
				return answer, true
			}
		}
	}
	return response{}, false
}

// held returns the sum and the number of the open holds of an account.
func (l ledger) held(account int) (reserved budget.Microcents, holds int64) {
	for slot, held := range l.open {
		if l.sets[slot].has(account) {
			reserved += held
			holds++
		}
	}
	return reserved, holds
}

func (l ledger) reserve(r request) (ledger, response) {
	switch {
	case r.amount <= 0:
		return l, response{outcome: budget.Insufficient, required: r.amount}
	case !l.accounts[r.account].exists:
		return l, response{outcome: budget.MissingTenant}
	}
	levels := l.existing(r)
	if refusal, refused := l.refusal(r, levels); refused {
		return l, refusal
	}
	if refusal := l.least(r, levels, response{outcome: budget.Insufficient, required: r.amount}); refusal.remaining < r.amount {
		return l, refusal.free()
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
	case r.verb != verbRelease && r.verb != verbAbandon && r.amount < 0:
		return l, response{outcome: budget.InvalidAmount}
	case held == 0:
		return l, response{outcome: budget.MissingReservation, prior: l.ended[r.slot]}
	}
	charge, least := r.amount, l.leastOf(levels, terms.payable)
	if excess, payable := r.amount-held, l.accounts[least].payable(); excess > 0 && excess > payable {
		if r.verb == verbCommit {
			return l, l.at(r, least, response{outcome: budget.Overrun})
		}
		charge = held + max(payable, 0)
	}
	l.open[r.slot], l.sets[r.slot] = 0, 0
	if r.verb == verbCommit || r.verb == verbCommitAvailable {
		l.move(levels, held-charge, charge)
		l.ended[r.slot] = budget.Committed
		return l, l.least(r, levels, response{outcome: budget.Committed, actual: charge, shortfall: r.amount - charge})
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
	case r.verb == verbGrant && own.settings.Closed:
		return l, response{outcome: budget.Closed}
	case r.verb == verbGrant:
		own.granted += r.amount
		own.remaining += r.amount
		return l, response{outcome: budget.Granted, remaining: own.remaining}
	case own.remaining < r.amount:
		return l, response{outcome: budget.Insufficient, remaining: own.remaining, required: r.amount}.free()
	}
	own.granted -= r.amount
	own.remaining -= r.amount
	return l, response{outcome: budget.Withdrawn, remaining: own.remaining}
}

func (l ledger) configure(r request) (ledger, response) {
	own := &l.accounts[r.account]
	switch {
	case !own.exists:
		return l, response{outcome: budget.MissingTenant}
	case own.settings.Closed && r.verb != verbClose:
		return l, response{outcome: budget.Closed}
	}
	change, err := budget.NewChange(r.setting.of(r.amount, nil)...)
	if err != nil {
		panic(err)
	}
	if c, ok := stateChanges[r.verb]; ok {
		change = c
	}
	own.settings = change.Apply(own.settings)
	return l, response{outcome: budget.Configured, settings: own.settings}
}

var stateChanges = map[verb]budget.Change{
	verbFreeze: budget.ChangeFrozen, verbUnfreeze: budget.ChangeUnfrozen, verbClose: budget.ChangeClosed,
}

func (l ledger) read(r request) response {
	own := l.accounts[r.account]
	if !own.exists {
		return response{outcome: budget.MissingTenant}
	}
	answer := response{outcome: budget.Found, remaining: own.remaining}
	if r.verb == verbRemaining {
		return l.least(r, l.existing(r), answer).free()
	}
	answer.granted, answer.expended, answer.settings = own.granted, own.expended, own.settings
	answer.reserved, _ = l.held(r.account)
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
	case verbCommit, verbCommitAvailable:
		question += fmt.Sprintf(" r%d at %d", in.slot, in.amount)
	case verbRelease, verbAbandon:
		question += fmt.Sprintf(" r%d", in.slot)
	case verbEnsure, verbGrant, verbWithdraw:
		question += fmt.Sprintf(" %d", in.amount)
	case verbConfigure:
		question += fmt.Sprintf(" %s %d", in.setting, in.amount)
	case verbRemaining, verbBalance, verbHolds, verbDelete, verbFreeze, verbUnfreeze, verbClose, verbLookup, verbAdvance:
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
