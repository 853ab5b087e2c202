package coordinator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
	"github.com/calybris/bursar/luascripts"
)

// decode reads an APPLIED reply into one answer a call. The script gives each
// account's remaining as the batch met it, and a code an operation; what follows
// from them is computed here, in 64-bit integers, as the script did in limbs.
func (b *batch) decode(reply string) ([]answer, error) {
	r := reader{rest: reply}
	if word := r.next(); word != luascripts.Applied {
		return nil, fmt.Errorf("unreadable reply %.60q", reply)
	}
	codes := r.next()
	if len(codes) != len(b.calls) {
		return nil, fmt.Errorf("unreadable reply %.60q: %s for %s", reply, wording.Count(len(codes), "code"), wording.Count(len(b.calls), "operation"))
	}
	b.appliedAt = int64(r.amount())
	var room [luascripts.MaxAccounts]budget.Microcents
	remaining := room[:len(b.accounts)]
	for i := range remaining {
		if text := r.next(); text != "-" {
			remaining[i] = r.parse(text)
		}
	}
	answers := slices.Grow(b.answers[:0], len(b.calls))[:len(b.calls)]
	b.answers = answers
	for i, c := range b.calls {
		if b.repair {
			answers[i] = answer{code: codes[i]}
			continue
		}
		answers[i] = r.answer(codes[i], c, &remaining[b.account(c)])
	}
	if r.err != nil || r.rest != "" {
		return nil, fmt.Errorf("unreadable reply %.60q: %w", reply, r.err)
	}
	return answers, nil
}

func (b *batch) account(c *call) int {
	for i, tenant := range b.accounts {
		if tenant == c.tenant {
			return i
		}
	}
	return 0
}

// reader takes a reply apart, word by word.
type reader struct {
	rest string
	err  error
}

func (r *reader) next() string {
	word, rest, _ := strings.Cut(r.rest, " ")
	r.rest = rest
	return word
}

func (r *reader) parse(text string) budget.Microcents {
	amount, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.fail(err)
	}
	return budget.Microcents(amount)
}

func (r *reader) amount() budget.Microcents { return r.parse(r.next()) }

// answer moves remaining as the operation moved it.
func (r *reader) answer(code byte, c *call, remaining *budget.Microcents) answer {
	a := answer{}
	switch code {
	case luascripts.CodeReserved:
		*remaining -= c.amount
		a.outcome = budget.Reserved
	case luascripts.CodeInsufficient:
		// What a repair has left below zero is debt, and nothing to reserve from.
		return answer{outcome: budget.Insufficient, required: c.amount, remaining: max(*remaining, 0)}
	case luascripts.CodeNoTenant:
		return answer{outcome: budget.MissingTenant}
	case luascripts.CodeCommitted:
		*remaining += r.amount() - c.amount
		a.outcome, a.actual = budget.Committed, c.amount
	case luascripts.CodeReleased:
		a.outcome, a.returned = budget.Released, r.amount()
		*remaining += a.returned
	case luascripts.CodeOverrun:
		a.outcome = budget.Overrun
	case luascripts.CodeCreated:
		a.outcome, *remaining = budget.Created, c.amount
	case luascripts.CodeExists:
		a.outcome = budget.Exists
	case luascripts.CodeGranted:
		*remaining += c.amount
		a.outcome = budget.Granted
	case luascripts.CodeWithdrawn:
		*remaining -= c.amount
		a.outcome = budget.Withdrawn
	case luascripts.CodeRemaining:
		return answer{outcome: budget.Found, remaining: max(*remaining, 0)} // as above
	case luascripts.CodeBalance:
		a.outcome = budget.Found
		a.balance = budget.Balance{
			Outcome: budget.Found, Remaining: *remaining,
			Granted: r.amount(), Reserved: r.amount(), Committed: r.amount(),
		}
	case luascripts.CodeDeleted, luascripts.CodeHoldsOpen:
		a.outcome = budget.Deleted
		a.balance = budget.Balance{
			Remaining: *remaining, Granted: r.amount(), Reserved: r.amount(), Committed: r.amount(),
		}
		if code == luascripts.CodeHoldsOpen {
			a.outcome = budget.HoldsOpen
		} else {
			*remaining = 0
		}
		a.balance.Outcome = a.outcome
	case luascripts.CodeKnown:
		return r.fate()
	default:
		return r.refusal(code, c)
	}
	a.remaining = *remaining
	return a
}

// fate reads a hold's text, as endings.lua describes it.
func (r *reader) fate() answer {
	text := r.next()
	if text == "" {
		text = "?"
	}
	a := answer{actual: r.parse(text[1:]), at: int64(r.amount())}
	switch text[0] {
	case 'o':
		a.outcome, a.until = budget.Reserved, int64(r.amount())
	case 'c':
		a.outcome = budget.Committed
	case 'l':
		a.outcome = budget.Released
	case 'x':
		a.outcome = budget.Expired
	default:
		r.fail(fmt.Errorf("a hold of state %q", text[0]))
	}
	return a
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) refusal(code byte, c *call) answer {
	switch code {
	case luascripts.CodeNoHold:
		return answer{outcome: budget.MissingReservation}
	case luascripts.CodeLost:
		return answer{outcome: budget.MissingReservation, code: code}
	case luascripts.CodeNotKnown:
		return answer{outcome: budget.NotKnown}
	case luascripts.CodeWasCommitted:
		return answer{outcome: budget.MissingReservation, prior: budget.Committed}
	case luascripts.CodeWasReleased:
		return answer{outcome: budget.MissingReservation, prior: budget.Released}
	case luascripts.CodeWasExpired:
		return answer{outcome: budget.MissingReservation, prior: budget.Expired}
	case luascripts.CodeOverflow:
		return answer{err: fmt.Errorf("%w: granting %s more to tenant %q", budget.ErrOverflow, wording.Count(c.amount, "microcent"), c.tenant)}
	case luascripts.CodeHoldsFull:
		return answer{err: fmt.Errorf("%w: family %q has as many open holds as it may have; settle some, or raise WithMaxHolds", ErrOverloaded, c.tenant.Root())}
	case luascripts.CodeMemory:
		return answer{err: fmt.Errorf("%w: nothing new is held, created or granted until maxmemory is raised or memory is freed", ErrOutOfMemory)}
	default:
		r.fail(fmt.Errorf("unknown code %q", code))
		return answer{}
	}
}
