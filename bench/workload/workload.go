package workload

import (
	"fmt"
	"math"
	"sort"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Workload is what the callers play. It comes in parts, one a round.
type Workload interface {
	// Round returns the requests of one round; each contender plays it once.
	Round(round, rounds int) Round
	// TypicalHold is the hold that budgets are measured by.
	TypicalHold() budget.Microcents
}

// Round hands requests to callers. Generator is called once a caller, and what it returns
// is that caller's alone, until it says that there are no more.
type Round interface {
	// Which says which part it is.
	Which() RoundNo
	// Generator hands out what one caller, counted from 0 over all nodes, is to ask for.
	Generator(caller int) Generator
	// Offset is when a request was recorded, since the first of the part; 0 where that
	// is not known. It is false where the part has no such request.
	Offset(number int) (time.Duration, bool)
}

// RoundNo says which part it is, of how many.
type RoundNo struct{ Number, Of int }

// Which is the RoundNo itself: parts embed it.
func (t RoundNo) Which() RoundNo { return t }

// Generator has the requests of one caller.
type Generator interface {
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
	work := &synthetic{deck: deck, seed: s.Seed, tenants: s.Tenants}
	if s.Workload == Zipf {
		work.skew = newZipf(s.Tenants, s.Zipf)
	}
	return work, nil
}

// Request is one piece of paid work.
type Request struct {
	Tenant int               `json:",omitempty"` // the number of one
	Hold   budget.Microcents // reserved: the worst case
	Cost   budget.Microcents // committed: what it came to
	Failed bool              `json:",omitempty"` // released instead: it came to nothing
}

// tariff turns tokens into money.
type tariff struct {
	input, output budget.Microcents // a million tokens
	maxOutput     int64
}

func (s Spec) tariff() tariff {
	return tariff{input: s.InputPrice, output: s.OutputPrice, maxOutput: s.MaxOutput}
}

// request prices the worst case and what was really generated.
func (t tariff) request(context, generated int64) (Request, error) {
	hold, err := t.cost(context, t.maxOutput)
	if err != nil {
		return Request{}, err
	}
	cost, err := t.cost(context, generated)
	return Request{Hold: hold, Cost: cost}, err
}

func (t tariff) cost(context, generated int64) (budget.Microcents, error) {
	in, err := budget.CostOf(context, t.input)
	if err != nil {
		return 0, err
	}
	out, err := budget.CostOf(generated, t.output)
	if err != nil {
		return 0, err
	}
	return in.Add(out)
}

// meanHold is at least one microcent. Quotients and remainders are summed apart,
// so that no sum of holds overflows.
func meanHold(requests []Request) budget.Microcents {
	count := budget.Microcents(len(requests))
	var mean, rest budget.Microcents
	for _, r := range requests {
		mean += r.Hold / count
		rest += r.Hold % count
	}
	return max(mean+rest/count, 1)
}

// Arrivals say when the requests of an open loop are due. The zero value is a closed
// loop: nothing is due.
type Arrivals struct {
	rate  float64       // requests a second at constant intervals; 0 with a speed
	speed float64       // of a trace's own times
	first time.Duration // when the first of a constant rate is due
}

// Arrivals of a Spec are those of all nodes together.
func (s Spec) Arrivals() Arrivals { return Arrivals{rate: s.Rate, speed: s.Speed} }

// Open is false of a closed loop, in which requests follow each other.
func (a Arrivals) Open() bool { return a.rate > 0 || a.speed > 0 }

// Share is the part of one node in a fleet of processes: every so many requests, from
// its own on.
func (a Arrivals) Share(node, nodes int) Arrivals {
	if a.rate > 0 {
		a.first = time.Duration(float64(node) / a.rate * float64(time.Second))
		a.rate /= float64(nodes)
	}
	return a
}

// Due is when a request is due, since the part began; false where there is none.
func (a Arrivals) Due(work Round, number int) (time.Duration, bool) {
	offset, exists := work.Offset(number)
	if a.rate > 0 {
		offset = a.first + time.Duration(float64(number)/a.rate*float64(time.Second))
	} else {
		offset = atSpeed(offset, a.speed)
	}
	return offset, exists
}

// atSpeed is at most the longest duration: at a low speed, centuries are more.
func atSpeed(offset time.Duration, speed float64) time.Duration {
	slowed := float64(offset) / speed
	if slowed >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(slowed)
}

// Until counts the requests that are due by then.
func (a Arrivals) Until(work Round, end time.Duration) int64 {
	most := math.MaxInt32 // rows of a trace
	if a.rate > 0 {
		most = int(min(end.Seconds()*a.rate, math.MaxInt-1)) + 1
	}
	return int64(sort.Search(most, func(i int) bool {
		offset, exists := a.Due(work, i)
		return !exists || offset > end
	}))
}

// limited is a workload that ends after so many requests of all callers, unless it
// ends by itself before.
type limited struct {
	Workload
	requests int64
}

// Round has its share of the count.
func (l limited) Round(round, rounds int) Round {
	p := &limitedRound{Round: l.Workload.Round(round, rounds), count: shareOf(l.requests, round, rounds)}
	p.left.Store(p.count)
	return p
}

type limitedRound struct {
	Round
	count int64
	left  atomic.Int64
}

// Generator ends with the part's count, whichever caller used it up.
func (p *limitedRound) Generator(caller int) Generator {
	return &limitedGenerator{p.Round.Generator(caller), &p.left}
}

// Offset is false beyond the count.
func (p *limitedRound) Offset(number int) (time.Duration, bool) {
	offset, exists := p.Round.Offset(number)
	return offset, exists && int64(number) < p.count
}

type limitedGenerator struct {
	Generator
	left *atomic.Int64
}

// Next counts, and ends with the count.
func (s *limitedGenerator) Next(number uint64, r *Request) bool {
	return s.left.Add(-1) >= 0 && s.Generator.Next(number, r)
}

// Burst is a workload of one part, in which all callers ask for the same tenant at once,
// then for the next. Costs are what was held, so that nothing comes back.
type Burst struct {
	Tenants  int
	Callers  int
	Requests int // at least so many are made of each tenant
	Hold     budget.Microcents
}

// Round is the only one, whichever is asked for.
func (r Burst) Round(int, int) Round { return r }

// TypicalHold is what each request holds.
func (r Burst) TypicalHold() budget.Microcents { return r.Hold }

// Which is the only turn.
func (r Burst) Which() RoundNo { return RoundNo{0, 1} }

// Generator is the same for every caller.
func (r Burst) Generator(int) Generator { return &burstGenerator{Burst: r} }

// Offset is of an open loop, which a rush is not.
func (r Burst) Offset(int) (time.Duration, bool) { return 0, true }

type burstGenerator struct {
	Burst
	played int
}

// Next has everybody ask for the tenants in the same order.
func (s *burstGenerator) Next(_ uint64, r *Request) bool {
	each := (s.Requests + s.Callers - 1) / s.Callers
	tenant := s.played / each
	s.played++
	*r = Request{Tenant: tenant, Hold: s.Hold, Cost: s.Hold}
	return tenant < s.Tenants
}
