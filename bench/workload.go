package bench

import (
	"math/rand/v2"
	"sync/atomic"

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
	source(caller int) source
}

type source interface {
	next(r *request) bool
}

// The workloads that are drawn from a seed. A trace is another.
const (
	WorkloadUniform = "uniform" // all tenants alike, with very different budgets
	WorkloadHot     = "hot"     // one tenant
	WorkloadZipf    = "zipf"    // some tenants much hotter than others
	WorkloadStorm   = "storm"   // budgets for a few requests each, so that most are refused
	workloadTrace   = "trace"
)

func newWorkload(c Config) (workload, error) {
	work, err := endlessWorkload(c)
	if err == nil && c.Requests > 0 {
		work = limited{work, c.Requests}
	}
	return work, err
}

// endlessWorkload is without the bound of a count.
func endlessWorkload(c Config) (workload, error) {
	if c.Trace != "" {
		return readTrace(c.Trace, c.tariff(), c.Tenants)
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
	if c.Trace != "" {
		return report.Workload{Name: workloadTrace, Arrivals: "closed", LatencyFrom: "call"}
	}
	said := report.Workload{Name: c.Workload, Arrivals: "closed", LatencyFrom: "call", AbovePermille: c.Above}
	if c.Workload == WorkloadZipf {
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

func (d *drawn) part(round, _ int) part { return drawnPart{d, uint64(round)} } //nolint:gosec // a count

func (d *drawn) typical() budget.Microcents { return meanHold(d.deck) }

type drawnPart struct {
	*drawn
	round uint64
}

func (p drawnPart) source(caller int) source {
	return &drawnSource{drawn: p.drawn, rng: *rand.NewPCG(p.seed, p.round<<32|uint64(caller)+1)} //nolint:gosec // a count
}

type drawnSource struct {
	*drawn
	rng rand.PCG
}

func (s *drawnSource) next(r *request) bool {
	bits := s.rng.Uint64()
	*r = s.deck[bits%deckSize]
	if s.skew.upTo != nil {
		r.tenant = s.skew.tenant(uint32(bits >> 32)) //nolint:gosec // 32 bits are left
	} else {
		r.tenant = int((bits >> 32) * uint64(s.tenants) >> 32) //nolint:gosec // a count
	}
	return true
}

// recorded is a usage trace: its rows in their order, each once, for whichever
// caller is free; the tenants take turns.
type recorded struct {
	rows []request
}

func (t *recorded) part(round, rounds int) part {
	from, to := len(t.rows)*round/rounds, len(t.rows)*(round+1)/rounds
	return &recordedPart{rows: t.rows[from:to]}
}

func (t *recorded) typical() budget.Microcents { return meanHold(t.rows) }

type recordedPart struct {
	rows  []request
	taken atomic.Int64
}

func (p *recordedPart) source(int) source { return p }

func (p *recordedPart) next(r *request) bool {
	i := p.taken.Add(1) - 1
	if i >= int64(len(p.rows)) {
		return false
	}
	*r = p.rows[i]
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
