package bench

import (
	"math/rand/v2"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// workload is what the callers play. It comes in parts, one a round.
type workload interface {
	// part returns the requests of one round; each contender plays it once.
	part(round, rounds int) part
	// typical is the hold that budgets are measured by.
	typical() budget.Microcents
}

// part hands requests to callers. source is called once a caller, next by that
// caller alone, until it says that there are no more.
type part interface {
	which() turn
	source(caller int) source
	// offset is when a request was recorded, since the first of the part; 0 where that
	// is not known. It is false where the part has no such request.
	offset(number int) (time.Duration, bool)
}

// turn says which part it is, of how many.
type turn struct{ number, of int }

func (t turn) which() turn { return t }

// source is asked for the caller's own next request, or, in an open loop, for the one
// of that number that has become due; false says that there is none.
type source interface {
	next(number uint64, r *request) bool
}

// The workloads that are drawn from a seed. A trace is another.
const (
	WorkloadUniform = "uniform" // all tenants alike, with very different budgets
	WorkloadHot     = "hot"     // one tenant
	WorkloadZipf    = "zipf"    // some tenants much hotter than others
	WorkloadStorm   = "storm"   // budgets for a few requests each, so that most are refused
	workloadTrace   = "trace"
)

func newWorkload(c Config) (workload, error) { return shareOfWorkload(c, 0, 1) }

// shareOfWorkload is what one node plays, of so many.
func shareOfWorkload(c Config, node, nodes int) (workload, error) {
	work, err := endlessWorkload(c)
	if trace, ok := work.(*recorded); ok && err == nil && nodes > 1 {
		work = trace.share(node, nodes)
	}
	if err == nil && c.Requests > 0 {
		work = limited{work, shareOf(c.Requests, node, nodes)}
	}
	return work, err
}

// shareOf divides a count, so that the shares add up.
func shareOf(count int64, part, parts int) int64 {
	upTo := func(i int64) int64 { return count/int64(parts)*i + count%int64(parts)*i/int64(parts) }
	return upTo(int64(part)+1) - upTo(int64(part))
}

// endlessWorkload is without the bound of a count.
func endlessWorkload(c Config) (workload, error) {
	if c.Trace != "" {
		return readTrace(c)
	}
	deck, err := newDeck(c.Seed, c.tariff(), c.Above)
	if err != nil {
		return nil, err
	}
	work := &drawn{deck: deck, seed: c.Seed, tenants: c.Tenants}
	if c.Workload == WorkloadZipf {
		work.skew = newZipf(c.Tenants, c.Zipf)
	}
	return work, nil
}

// workload says what is played, for the report.
func (c Config) workload() report.Workload {
	said := report.Workload{
		Name: c.Workload, Arrivals: "closed", LatencyFrom: "call", AbovePermille: c.Above, Speed: c.Speed,
		Offered: c.Rate, HoldMillis: float64(c.HoldTime.Microseconds()) / 1e3, WarmupSeconds: c.warmup().Seconds(),
	}
	if c.arrivals().open() {
		said.Arrivals, said.LatencyFrom = "open", "intended start"
	}
	if c.Trace != "" {
		said.Name, said.AbovePermille = workloadTrace, 0
	} else if c.Workload == WorkloadZipf {
		said.ZipfExponent = c.Zipf
	}
	return said
}

// drawn never ends: requests of the deck, for tenants drawn uniformly, or by a
// skew.
type drawn struct {
	deck    []request
	seed    uint64
	tenants int
	skew    zipf
}

func (d *drawn) part(round, rounds int) part { return drawnPart{d, turn{round, rounds}} }

func (d *drawn) typical() budget.Microcents { return meanHold(d.deck) }

type drawnPart struct {
	*drawn
	turn
}

func (p drawnPart) source(caller int) source {
	return &drawnSource{drawn: p.drawn, rng: *rand.NewPCG(p.seed, uint64(p.number)<<32|uint64(caller)+1)} //nolint:gosec // a count
}

type drawnSource struct {
	*drawn
	rng rand.PCG
}

// offset: what is drawn has no time of its own, and no end.
func (p drawnPart) offset(int) (time.Duration, bool) { return 0, true }

func (s *drawnSource) next(_ uint64, r *request) bool {
	bits := s.rng.Uint64()
	*r = s.deck[bits%deckSize]
	if s.skew.upTo != nil {
		r.tenant = s.skew.tenant(uint32(bits >> 32))
	} else {
		r.tenant = int((bits >> 32) * uint64(s.tenants) >> 32) //nolint:gosec // a count
	}
	return true
}

// meanHold is at least one microcent. Quotients and remainders are summed apart,
// so that no sum of holds overflows.
func meanHold(requests []request) budget.Microcents {
	count := budget.Microcents(len(requests))
	var mean, rest budget.Microcents
	for _, r := range requests {
		mean += r.hold / count
		rest += r.hold % count
	}
	return max(mean+rest/count, 1)
}
