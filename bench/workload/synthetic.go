package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// synthetic never ends: requests of the deck, for tenants synthetic uniformly, or by a
// skew.
type synthetic struct {
	deck    []Request
	seed    uint64
	tenants int
	skew    zipf
}

// Round is without an end, and with requests of its own in each round.
func (d *synthetic) Round(round, rounds int) Round { return syntheticRound{d, RoundNo{round, rounds}} }

// TypicalHold is the mean hold.
func (d *synthetic) TypicalHold() budget.Microcents { return meanHold(d.deck) }

type syntheticRound struct {
	*synthetic
	RoundNo
}

// Generator draws from the seed, the round and the caller.
func (p syntheticRound) Generator(caller int) Generator {
	return &syntheticGenerator{synthetic: p.synthetic, rng: *rand.NewPCG(p.seed, uint64(p.Number)<<32|uint64(caller)+1)} //nolint:gosec // a count
}

// Offset is not known: what is synthetic has no time of its own, and no end.
func (p syntheticRound) Offset(int) (time.Duration, bool) { return 0, true }

type syntheticGenerator struct {
	*synthetic
	rng rand.PCG
}

// Next is synthetic anew, whatever its number.
func (s *syntheticGenerator) Next(_ uint64, r *Request) bool {
	bits := s.rng.Uint64()
	*r = s.deck[bits%deckSize]
	if s.skew.upTo != nil {
		r.Tenant = s.skew.tenant(uint32(bits >> 32))
	} else {
		r.Tenant = int((bits >> 32) * uint64(s.tenants) >> 32) //nolint:gosec // a count
	}
	return true
}

// The shape of the synthetic requests: tokens are log-normal, as in published usage
// traces. The parts are of a thousand.
const (
	deckSize        = 8192 // a power of two
	medianContext   = 1000
	contextSpread   = 1.0
	maxContext      = 128_000
	medianGenerated = 200
	generatedSpread = 1.0
	failedPermille  = 30
	permille        = 1000
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
		kind := rng.IntN(permille)
		if kind < above {
			generated = t.maxOutput + 1 + rng.Int64N(t.maxOutput)
		}
		synthetic, err := t.request(context, generated)
		if err != nil {
			return nil, fmt.Errorf("a request of %s and %s cannot be priced: %w; lower the prices or --max-output",
				wording.Count(context, "context token"), wording.Count(t.maxOutput, "generated token"), err)
		}
		synthetic.Failed = kind >= above && kind < above+failedPermille
		deck[i] = synthetic
	}
	return deck, nil
}

func logNormal(rng *rand.Rand, median, spread float64, highest int64) int64 {
	return min(highest, 1+int64(median*math.Exp(spread*rng.NormFloat64())))
}

// zipf draws tenants so that the k-th is as likely as 1/k^exponent, the first the
// hottest. rand.Zipf knows no exponent of 1 or below, which is where published
// traffic lies, so this is a table: exact for any exponent, one binary search a draw.
type zipf struct {
	upTo []uint32 // of 2^32, the likelihood of this tenant and all before it
}

func newZipf(tenants int, exponent float64) zipf {
	sums := make([]float64, tenants)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -exponent)
		sums[i] = sum
	}
	z := zipf{upTo: make([]uint32, tenants)}
	for i := range sums {
		z.upTo[i] = uint32(sums[i] / sum * math.MaxUint32)
	}
	return z
}

// tenant is the one that 32 random bits fall on.
func (z zipf) tenant(bits uint32) int {
	i, _ := slices.BinarySearch(z.upTo, bits)
	return i
}
