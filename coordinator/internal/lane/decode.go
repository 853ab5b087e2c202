package lane

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// decode reads the reply to an applied batch into one answer per call. The reply has each
// account's remaining before the batch, and a code per operation; the rest is computed
// here, in 64-bit integers, as the script did in limbs.
func (b *Batch) decode(text string) (answers []Answer, reply store.Reply, damaged string, err error) {
	var room [luascripts.MaxAccounts]budget.Microcents
	return b.replay(text, room[:len(b.accounts)])
}

// results returns the codes in the reply, and the amounts that CommitAvailable operations
// charged, as the session has them: with other results it is another session.
func (b *Batch) results(text string) string {
	codes := store.AppliedCodes(text, len(b.calls))
	if !slices.ContainsFunc(b.calls, func(c *Call) bool { return c.kind == luascripts.KindCommitAvailable }) {
		return codes
	}
	answers, _, _, err := b.decode(text)
	if err != nil {
		return codes // and resolve reports it
	}
	results := []byte(codes)
	for i, c := range b.calls {
		if c.kind == luascripts.KindCommitAvailable && answers[i].Outcome == budget.Committed {
			results = binary.BigEndian.AppendUint64(results, uint64(answers[i].Actual)) //nolint:gosec // not negative
		}
	}
	return string(results)
}

// replay decodes the reply, and leaves in remaining that of each account after the batch.
func (b *Batch) replay(text string, remaining []budget.Microcents) (answers []Answer, reply store.Reply, damaged string, err error) {
	reply, err = store.ParseReply(text, len(b.calls), len(b.accounts))
	if err != nil {
		return nil, reply, "", err
	}
	b.appliedAt = reply.Time
	for i := range remaining {
		remaining[i] = reply.Remaining(i)
	}
	answers = slices.Grow(b.answers[:0], len(b.calls))[:len(b.calls)]
	b.answers = answers
	for i, c := range b.calls {
		code := reply.Codes[i]
		if b.repair {
			answers[i] = Answer{code: code}
			continue
		}
		own := &remaining[b.places[i]]
		if b.nexts[b.places[i]] == store.NoNext {
			answers[i], err = decodeCode(&reply, code, c, own)
			if left, late := reply.LateRemaining(i, int(b.places[i])); late {
				*own, answers[i].Remaining = left, left
			}
		} else {
			answers[i], err = b.decodeLevels(&reply, code, i, remaining)
		}
		if err != nil {
			return nil, reply, "", err
		}
		answers[i].code = code
		if len(reply.Windows) > 0 {
			b.decodeWindow(&reply, i, &answers[i])
		}
		switch {
		case code == luascripts.CodeDeleted && b.nested:
			b.forget(int(b.places[i]), remaining)
		case c.change != nil && b.limited:
			b.decodeLimits(&reply, i, remaining)
		case code == luascripts.CodeLimitList:
			err = b.decodeLimitList(&reply, &answers[i], remaining)
		case code == luascripts.CodeLimits && len(reply.Lacking) == 0:
			err = fmt.Errorf("unreadable reply: code %q without limits", code)
		}
		if err != nil {
			return nil, reply, "", err
		}
	}
	b.crossings = reply.Crossings(b.accounts)
	damaged, err = reply.End()
	return answers, reply, damaged, err
}

// forget makes a tenant and its limits missing.
func (b *Batch) forget(place int, remaining []budget.Microcents) {
	remaining[place] = store.NoAccount
	for place++; place < len(b.accounts) && b.accounts[place].Limit != budget.NoPeriod; place++ {
		remaining[place] = store.NoAccount
	}
}

// decodeLimits changes remaining as a change of limits did.
func (b *Batch) decodeLimits(r *store.Reply, call int, remaining []budget.Microcents) {
	code, c := r.Codes[call], b.calls[call]
	if code != luascripts.CodeConfigured && code != luascripts.CodeCreated {
		return
	}
	for i := range c.change.Limits {
		limit := &c.change.Limits[i]
		left := &remaining[b.limitAt(b.places[call], limit.Window.Period)]
		switch {
		case limit.Remove:
			*left = store.NoAccount
		case code == luascripts.CodeCreated:
			*left = limit.Window.Amount
		default:
			*left = r.Amount()
		}
	}
}

// decodeLimitList sets the balances of a tenant's limits.
func (b *Batch) decodeLimitList(r *store.Reply, a *Answer, remaining []budget.Microcents) error {
	list := &budget.LimitList{Outcome: budget.Found}
	*a = Answer{Outcome: budget.Found, Limits: list, code: a.code}
	for range r.Count() {
		place := r.Count() - 1
		if place < 0 || place >= len(b.accounts) {
			return fmt.Errorf("unreadable reply: a limit in account %d, of %d", place+1, len(b.accounts))
		}
		balance, _, _ := decodeBalance(r, budget.Found, &remaining[place])
		balance.Limit = b.accounts[place].Limit
		list.Limits = append(list.Limits, *balance)
	}
	return nil
}

// decodeLevels is decodeCode for a tenant with ancestors or limits. An operation that moves
// several accounts has the least remaining of those, and of equals that of the nearest to
// the tenant.
func (b *Batch) decodeLevels(r *store.Reply, code byte, call int, remaining []budget.Microcents) (Answer, error) {
	c := b.calls[call]
	set, change := uint64(math.MaxUint64), budget.Microcents(0)
	var a Answer
	switch {
	case code == luascripts.CodeReserved:
		a.Outcome, change = budget.Reserved, -c.amount
	case code == luascripts.CodeInsufficient && c.properties().makes:
		a.Outcome, a.Required = budget.Insufficient, c.amount
	case code == luascripts.CodeRemaining:
		a.Outcome = budget.Found
	case code == luascripts.CodeCommitted:
		held := r.Amount()
		set = r.Places(b.limited)
		decodeActual(r, c, &a)
		change = held - a.Actual
	case code == luascripts.CodeReleased:
		a.Outcome, a.Returned = budget.Released, r.Amount()
		set, change = r.Places(b.limited), a.Returned
	case code == luascripts.CodeOverrun:
		a.Outcome, set = budget.Overrun, r.Places(b.limited)
	default:
		return decodeCode(r, code, c, &remaining[b.places[call]])
	}
	least, level := int16(store.NoNext), byte(1)
	for place, bit := int16(b.places[call]), uint64(1); place != store.NoNext; place, bit = b.nexts[place], bit<<1 {
		own := b.accounts[place].Limit == budget.NoPeriod
		if own && bit > 1 {
			level <<= 1
		}
		if set&bit == 0 || remaining[place] == store.NoAccount {
			continue
		}
		remaining[place] += change
		if left, late := r.LateRemaining(call, int(place)); late {
			remaining[place] = left
		}
		if own {
			a.levels |= level
		}
		if least == store.NoNext || remaining[place] < remaining[least] {
			least = place
		}
	}
	if least == store.NoNext {
		return a, fmt.Errorf("unreadable reply: code %q without a level", code)
	}
	a.Remaining, a.Level, a.Limit = remaining[least], b.accounts[least].Tenant, b.accounts[least].Limit
	if a.Outcome == budget.Insufficient || a.Outcome == budget.Found {
		a.Remaining = max(a.Remaining, 0) // as in decodeCode
	}
	return a, nil
}

// decodeCode returns an operation's answer, and changes remaining as the operation did.
func decodeCode(r *store.Reply, code byte, c *Call, remaining *budget.Microcents) (Answer, error) {
	a := Answer{levels: store.OwnLevel}
	switch code {
	case luascripts.CodeReserved:
		*remaining -= c.amount
		a.Outcome = budget.Reserved
	case luascripts.CodeInsufficient:
		// A remaining below zero is debt, of an overdraft or a repair, and can't be reserved.
		return Answer{Outcome: budget.Insufficient, Required: c.amount, Remaining: max(*remaining, 0), Level: c.tenant}, nil
	case luascripts.CodeCommitted:
		held := r.Amount()
		decodeActual(r, c, &a)
		*remaining += held - a.Actual
	case luascripts.CodeReleased:
		a.Outcome, a.Returned = budget.Released, r.Amount()
		*remaining += a.Returned
	case luascripts.CodeOverrun:
		a.Outcome = budget.Overrun
	case luascripts.CodeCreated:
		a.Outcome, *remaining = budget.Created, c.amount
	case luascripts.CodeExists:
		a.Outcome = budget.Exists
	case luascripts.CodeGranted:
		*remaining += c.amount
		a.Outcome = budget.Granted
	case luascripts.CodeWithdrawn:
		*remaining -= c.amount
		a.Outcome = budget.Withdrawn
	case luascripts.CodeRemaining:
		return Answer{Outcome: budget.Found, Remaining: max(*remaining, 0), Level: c.tenant}, nil // as above
	case luascripts.CodeBalance, luascripts.CodeDeleted, luascripts.CodeHoldsOpen:
		a.Outcome = balanceOutcomes[code]
		a.Balance, a.Holds, a.epochs = decodeBalance(r, a.Outcome, remaining)
		a.Balance.Limit = c.limit
		if code == luascripts.CodeDeleted {
			*remaining = 0
		}
	case luascripts.CodeConfigured:
		settings, _ := r.Settings(remaining)
		return Answer{Outcome: budget.Configured, Settings: &settings}, nil
	case luascripts.CodeEpoch:
		b := r.Epoch()
		b.Limit = c.limit
		if b.Settings, a.epochs = r.Settings(remaining); a.epochs != nil && b.Epoch.Start == budget.Instant(a.epochs.Start) {
			b.Ended = a.epochs.Ended
		}
		a.Outcome, a.Balance = budget.Found, &b
	case luascripts.CodeLimitList:
		return Answer{Outcome: budget.Found}, nil // see decodeLimitList
	case luascripts.CodeRenewed:
		*remaining, a.Outcome = r.Amount(), budget.Found
	case luascripts.CodeClosed, luascripts.CodeFrozen, luascripts.CodeCapped:
		return decodeRejection(r, code, c), nil
	case luascripts.CodeKnown:
		return decodeKnown(r.Known())
	default:
		return decodeRefusal(code, c)
	}
	a.Remaining, a.Level = *remaining, c.tenant
	return a, nil
}

// decodeBalance returns an account's balance, the number of its open holds, and its epochs.
func decodeBalance(r *store.Reply, outcome budget.Outcome, remaining *budget.Microcents) (b *budget.Balance, holds int64, e *store.Epochs) {
	b = &budget.Balance{Outcome: outcome, Granted: r.Amount(), Reserved: r.Amount(), Committed: r.Amount()}
	holds = int64(r.Amount())
	b.Settings, e = r.Settings(remaining)
	if b.Remaining = *remaining; e != nil {
		b.Epoch, b.Ended = e.Epoch(), e.Ended
	}
	return b, holds, e
}

// decodeWindow sets when the level of a refusal renews, and the boundaries that a call waits for.
func (b *Batch) decodeWindow(r *store.Reply, call int, a *Answer) {
	switch {
	case a.code == luascripts.CodeWindow:
		for place := int16(b.places[call]); place != store.NoNext; place = b.nexts[place] {
			if w := missingAt(r, place); w != nil {
				a.missing, a.Level, a.Limit = w, b.accounts[place].Tenant, b.accounts[place].Limit
				return
			}
		}
	case a.code == luascripts.CodeInsufficient && b.calls[call].properties().makes, a.code == luascripts.CodeRemaining:
		if place, ok := b.byName[a.Level]; ok {
			a.Renews = r.Renews(int(b.limitAt(place, a.Limit)))
		}
	}
}

// decodeActual sets the amount that a commit charged.
func decodeActual(r *store.Reply, c *Call, a *Answer) {
	a.Outcome, a.Actual = budget.Committed, c.amount
	if c.kind == luascripts.KindCommitAvailable {
		a.Actual = r.Amount()
		a.Shortfall = c.amount - a.Actual
	}
}

// decodeRejection returns the answer of an operation that a level's settings refuse.
func decodeRejection(r *store.Reply, code byte, c *Call) Answer {
	a := Answer{Outcome: budget.Closed}
	if !c.properties().makes {
		return a
	}
	for _, level := range store.LevelsOf(c.tenant, r.Levels()) {
		a.Level = level
	}
	switch code {
	case luascripts.CodeFrozen:
		a.Outcome = budget.Frozen
	case luascripts.CodeCapped:
		a.Outcome = budget.Capped
		a.Cap, a.CapLimit = r.Cap()
	}
	return a
}

var balanceOutcomes = map[byte]budget.Outcome{
	luascripts.CodeBalance: budget.Found, luascripts.CodeDeleted: budget.Deleted, luascripts.CodeHoldsOpen: budget.HoldsOpen,
}

func decodeKnown(k store.Known) (Answer, error) {
	a := Answer{Actual: k.Amount, At: k.At}
	switch k.State {
	case luascripts.HoldOpen:
		a.Outcome, a.Until = budget.Reserved, k.Deadline
	case luascripts.HoldCommitted:
		a.Outcome = budget.Committed
	case luascripts.HoldReleased:
		a.Outcome = budget.Released
	case luascripts.HoldExpired:
		a.Outcome = budget.Expired
	default:
		return a, fmt.Errorf("unreadable reply: hold of state %q", k.State)
	}
	return a, nil
}

func decodeRefusal(code byte, c *Call) (Answer, error) {
	switch code {
	case luascripts.CodeNoTenant:
		return Answer{Outcome: budget.MissingTenant}, nil
	case luascripts.CodeNoHold, luascripts.CodeLost, luascripts.CodeOverdue, luascripts.CodeWindow, luascripts.CodeLimits:
		return Answer{Outcome: budget.MissingReservation}, nil
	case luascripts.CodeNotKnown:
		return Answer{Outcome: budget.NotKnown}, nil
	case luascripts.CodeWasCommitted:
		return Answer{Outcome: budget.MissingReservation, Prior: budget.Committed}, nil
	case luascripts.CodeWasReleased:
		return Answer{Outcome: budget.MissingReservation, Prior: budget.Released}, nil
	case luascripts.CodeWasExpired:
		return Answer{Outcome: budget.MissingReservation, Prior: budget.Expired}, nil
	case luascripts.CodeOverflow:
		if c.kind == luascripts.KindConfigure {
			return Answer{Err: configureOverflow(c)}, nil
		}
		return Answer{Err: fmt.Errorf("%w: %d microcents more for tenant %q", budget.ErrOverflow, c.amount, c.tenant)}, nil
	case luascripts.CodeNoEpoch:
		return Answer{Err: fmt.Errorf("%w: %s at %s: choose a time in the current epoch or one of the last three", budget.ErrNoEpoch, store.AccountID{Tenant: c.tenant, Limit: c.limit}, budget.Instant(c.at))}, nil
	case luascripts.CodeNoLimit:
		return Answer{Err: fmt.Errorf("%w: tenant %q has none by %s", budget.ErrNoLimit, c.tenant, c.limit)}, nil
	case luascripts.CodeLimitsFull:
		return Answer{Err: fmt.Errorf("%w: tenant %q can have %d beside its base limit: remove one", budget.ErrTooManyLimits, c.tenant, budget.MaxLimits)}, nil
	case luascripts.CodeHoldsFull:
		return Answer{Err: fmt.Errorf("tenant %q: %w: settle some, or raise WithMaxHolds", c.tenant, ErrTooManyHolds)}, nil
	case luascripts.CodeMemory:
		return Answer{Err: fmt.Errorf("%w: raise maxmemory or free memory; commits and releases still succeed", ErrOutOfMemory)}, nil
	case luascripts.CodeCorrupt:
		return Answer{Err: fmt.Errorf("tenant %q: %w: run bursar inspect %q", c.tenant, ErrCorrupt, c.tenant)}, nil
	default:
		return Answer{}, fmt.Errorf("unreadable reply: unknown code %q", code)
	}
}

// configureOverflow returns the error of a change of settings that doesn't fit 64 bits. Either a
// window's amount, an overdraft or both are the cause.
func configureOverflow(c *Call) error {
	amount, overdraft := c.change.Window.Amount, c.change.Overdraft
	switch {
	case amount > 0 && overdraft > 0:
		return fmt.Errorf("%w: a window's amount of %d microcents and an overdraft of %d for tenant %q: lower one of them", budget.ErrOverflow, amount, overdraft, c.tenant)
	case amount == 0 && overdraft == 0:
		return fmt.Errorf("%w: the amount of a limit of tenant %q with its overdraft and what has been passed on to it: lower it", budget.ErrOverflow, c.tenant)
	case amount > 0:
		return fmt.Errorf("%w: a window's amount of %d microcents with the budget and the overdraft of tenant %q: lower it", budget.ErrOverflow, amount, c.tenant)
	default:
		return fmt.Errorf("%w: an overdraft of %d microcents beyond the budget of tenant %q: lower it", budget.ErrOverflow, overdraft, c.tenant)
	}
}
