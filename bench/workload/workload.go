package workload

import (
	"fmt"
	"math"
	"sort"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Request is one piece of paid work.
type Request struct {
	Tenant int               `json:",omitempty"` // its number
	Hold   budget.Microcents // to reserve: the worst case
	Cost   budget.Microcents // to commit
	Failed bool              `json:",omitempty"` // to be released instead
}

// Workload generates requests, in rounds.
type Workload interface {
	// Round returns the requests of one round; each candidate gets the same.
	Round(round, rounds int) Round
	// TypicalHold is the unit of budgets.
	TypicalHold() budget.Microcents
}

// Round has the requests of one round.
type Round interface {
	Which() RoundNo
	// Generator returns the requests of one worker, counted from 0 over all nodes.
	Generator(worker int) Generator
	// Offset returns when a request was recorded, since the first of the round, or 0 if
	// unknown. It returns false if the round has no such request.
	Offset(number int) (time.Duration, bool)
}

// RoundNo identifies a round. Rounds embed it.
type RoundNo struct{ Number, Of int }

// Which returns the number itself.
func (n RoundNo) Which() RoundNo { return n }

// Generator sets r to the next request of the worker that it belongs to or, in an open loop,
// to the request of the number that has become due. It returns false after the last one.
type Generator func(number uint64, r *Request) bool

// New returns the workload of a valid Spec whose trace has been read. An error is about its
// prices.
func New(s Spec) (Workload, error) { return Share(s, 0, 1) }

// Share returns the part of one of several nodes, counted from 0. A trace has to be divided
// by [Spec.ForNode] before.
func Share(s Spec, node, nodes int) (Workload, error) {
	work, err := unlimitedWorkload(s)
	if err == nil && s.Requests > 0 {
		work = limited{work, shareOf(s.Requests, node, nodes)}
	}
	return work, err
}

// shareOf divides a count so that the shares add up.
func shareOf(count int64, part, parts int) int64 {
	upTo := func(i int64) int64 { return count/int64(parts)*i + count%int64(parts)*i/int64(parts) }
	return upTo(int64(part)+1) - upTo(int64(part))
}

func unlimitedWorkload(s Spec) (Workload, error) {
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

// tariff prices tokens.
type tariff struct {
	input, output budget.Microcents // per million tokens
	maxOutput     int64
}

func (s Spec) tariff() tariff {
	return tariff{input: s.InputPrice, output: s.OutputPrice, maxOutput: s.MaxOutput}
}

// request prices the worst case and the generated tokens.
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

// meanHold returns the mean, at least 1. It adds quotients and remainders apart, so that the
// sum does not overflow.
func meanHold(requests []Request) budget.Microcents {
	count := budget.Microcents(len(requests))
	var mean, rest budget.Microcents
	for _, r := range requests {
		mean += r.Hold / count
		rest += r.Hold % count
	}
	return max(mean+rest/count, 1)
}

// Arrivals says when the requests of an open loop are due. The zero value is a closed loop.
type Arrivals struct {
	rate  float64       // requests per second, at constant intervals
	speed float64       // of a trace; unused with a rate
	first time.Duration // when the first request is due, with a rate
}

// Arrivals returns the arrivals of all nodes together.
func (s Spec) Arrivals() Arrivals { return Arrivals{rate: s.Rate, speed: s.Speed} }

// Open reports whether this is an open loop.
func (a Arrivals) Open() bool { return a.rate > 0 || a.speed > 0 }

// Share returns the arrivals of one of several nodes.
func (a Arrivals) Share(node, nodes int) Arrivals {
	if a.rate > 0 {
		a.first = time.Duration(float64(node) / a.rate * float64(time.Second))
		a.rate /= float64(nodes)
	}
	return a
}

// Due returns when a request is due, since the round began, or false if there is none.
func (a Arrivals) Due(work Round, number int) (time.Duration, bool) {
	offset, exists := work.Offset(number)
	if a.rate > 0 {
		offset = a.first + time.Duration(float64(number)/a.rate*float64(time.Second))
	} else {
		offset = atSpeed(offset, a.speed)
	}
	return offset, exists
}

// atSpeed is at most the longest duration.
func atSpeed(offset time.Duration, speed float64) time.Duration {
	slowed := float64(offset) / speed
	if slowed >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(slowed)
}

// Until returns the number of requests that are due by a time.
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

// limited ends after a number of requests of all workers, if not before.
type limited struct {
	Workload
	requests int64
}

// Round returns a round with its share of the requests.
func (l limited) Round(round, rounds int) Round {
	r := &limitedRound{Round: l.Workload.Round(round, rounds), count: shareOf(l.requests, round, rounds)}
	r.left.Store(r.count)
	return r
}

type limitedRound struct {
	Round
	count int64
	left  atomic.Int64
}

// Generator returns the generator of a worker, which shares the limit with the others.
func (r *limitedRound) Generator(worker int) Generator {
	next := r.Round.Generator(worker)
	return func(number uint64, req *Request) bool { return r.left.Add(-1) >= 0 && next(number, req) }
}

// Offset returns the time at which a request is due, up to the limit.
func (r *limitedRound) Offset(number int) (time.Duration, bool) {
	offset, exists := r.Round.Offset(number)
	return offset, exists && int64(number) < r.count
}

// Burst is a workload of a single round, in which all workers send requests for the same
// tenant at once, then for the next. Requests cost their whole hold.
type Burst struct {
	Tenants  int
	Workers  int
	Requests int // at least, per tenant
	Hold     budget.Microcents
}

// Round returns the only round.
func (b Burst) Round(int, int) Round { return b }

// TypicalHold is the hold of each request.
func (b Burst) TypicalHold() budget.Microcents { return b.Hold }

// Which identifies the only round.
func (b Burst) Which() RoundNo { return RoundNo{0, 1} }

// Generator returns the same requests for each worker: its share for each tenant.
func (b Burst) Generator(int) Generator {
	each := (b.Requests + b.Workers - 1) / b.Workers
	sent := 0
	return func(_ uint64, r *Request) bool {
		tenant := sent / each
		sent++
		*r = Request{Tenant: tenant, Hold: b.Hold, Cost: b.Hold}
		return tenant < b.Tenants
	}
}

// Offset is unknown.
func (b Burst) Offset(int) (time.Duration, bool) { return 0, true }
