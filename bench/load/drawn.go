package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// drawn never ends: requests of the deck, for tenants drawn uniformly, or by a
// skew.
type drawn struct {
	deck    []Request
	seed    uint64
	tenants int
	skew    zipf
}

// Part is without an end, and with requests of its own in each round.
func (d *drawn) Part(round, rounds int) Part { return drawnPart{d, Turn{round, rounds}} }

// Typical is the mean hold.
func (d *drawn) Typical() budget.Microcents { return meanHold(d.deck) }

type drawnPart struct {
	*drawn
	Turn
}

// Source draws from the seed, the round and the caller.
func (p drawnPart) Source(caller int) Source {
	return &drawnSource{drawn: p.drawn, rng: *rand.NewPCG(p.seed, uint64(p.Number)<<32|uint64(caller)+1)} //nolint:gosec // a count
}

// Offset is not known: what is drawn has no time of its own, and no end.
func (p drawnPart) Offset(int) (time.Duration, bool) { return 0, true }

type drawnSource struct {
	*drawn
	rng rand.PCG
}

// Next is drawn anew, whatever its number.
func (s *drawnSource) Next(_ uint64, r *Request) bool {
	bits := s.rng.Uint64()
	*r = s.deck[bits%deckSize]
	if s.skew.upTo != nil {
		r.Tenant = s.skew.tenant(uint32(bits >> 32))
	} else {
		r.Tenant = int((bits >> 32) * uint64(s.tenants) >> 32) //nolint:gosec // a count
	}
	return true
}

// The shape of the drawn requests: tokens are log-normal, as in published usage
// traces. The parts are of a thousand.
const (
	deckSize        = 8192 // a power of two
	medianContext   = 1000
	contextSpread   = 1.0
	maxContext      = 128_000
	medianGenerated = 200
	generatedSpread = 1.0
	failedPart      = 30
	allParts        = 1000
)

// newDeck draws the requests that all callers play, each from a place of its
// own; above of a thousand cost more than they hold. Drawing them ahead keeps the
// callers' own work out of the measurement.
func newDeck(seed uint64, t tariff, above int) ([]Request, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	deck := make([]Request, deckSize)
	for i := range deck {
		context := logNormal(rng, medianContext, contextSpread, maxContext)
		generated := logNormal(rng, medianGenerated, generatedSpread, t.maxOutput)
		kind := rng.IntN(allParts)
		if kind < above {
			generated = t.maxOutput + 1 + rng.Int64N(t.maxOutput)
		}
		drawn, err := t.request(context, generated)
		if err != nil {
			return nil, fmt.Errorf("a request of %s and %s cannot be priced: %w; lower the prices or --max-output",
				wording.Count(context, "context token"), wording.Count(t.maxOutput, "generated token"), err)
		}
		drawn.Failed = kind >= above && kind < above+failedPart
		deck[i] = drawn
	}
	return deck, nil
}

func logNormal(rng *rand.Rand, median, spread float64, highest int64) int64 {
	return min(highest, 1+int64(median*math.Exp(spread*rng.NormFloat64())))
}
