package load

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Workload is what the callers play. It comes in parts, one a round.
type Workload interface {
	// Part returns the requests of one round; each contender plays it once.
	Part(round, rounds int) Part
	// Typical is the hold that budgets are measured by.
	Typical() budget.Microcents
}

// Part hands requests to callers. Source is called once a caller, and what it returns
// is that caller's alone, until it says that there are no more.
type Part interface {
	// Which says which part it is.
	Which() Turn
	// Source hands out what one caller, counted from 0 over all nodes, is to ask for.
	Source(caller int) Source
	// Offset is when a request was recorded, since the first of the part; 0 where that
	// is not known. It is false where the part has no such request.
	Offset(number int) (time.Duration, bool)
}

// Turn says which part it is, of how many.
type Turn struct{ Number, Of int }

// Which is the Turn itself: parts embed it.
func (t Turn) Which() Turn { return t }

// Source has the requests of one caller.
type Source interface {
	// Next is the caller's own next request, or, in an open loop, the one of that number
	// that has become due; false says that there is none.
	Next(number uint64, r *Request) bool
}

// New is the whole of what a valid Spec asks for, whose trace has been read. An error
// says what is wrong with its prices.
func New(s Spec) (Workload, error) { return Share(s, 0, 1) }

// Share is what one node plays, counted from 0, of so many; of a trace it is what
// [Spec.ForNode] left.
func Share(s Spec, node, nodes int) (Workload, error) {
	work, err := endlessWorkload(s)
	if err == nil && s.Requests > 0 {
		work = limited{work, shareOf(s.Requests, node, nodes)}
	}
	return work, err
}

// shareOf divides a count, so that the shares add up.
func shareOf(count int64, part, parts int) int64 {
	upTo := func(i int64) int64 { return count/int64(parts)*i + count%int64(parts)*i/int64(parts) }
	return upTo(int64(part)+1) - upTo(int64(part))
}

// endlessWorkload is without the bound of a count.
func endlessWorkload(s Spec) (Workload, error) {
	switch {
	case s.Recording != nil:
		return &Trace{Recording: s.Recording, tenants: s.Tenants, due: s.Arrivals().Open()}, nil
	case s.Trace != "":
		return nil, fmt.Errorf("trace %s is not read: call Spec.Read", s.Trace)
	}
	deck, err := newDeck(s.Seed, s.tariff(), s.Above)
	if err != nil {
		return nil, err
	}
	work := &drawn{deck: deck, seed: s.Seed, tenants: s.Tenants}
	if s.Workload == Zipf {
		work.skew = newZipf(s.Tenants, s.Zipf)
	}
	return work, nil
}
