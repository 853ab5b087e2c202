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

// synthetic is an endless workload: requests from a deck, for tenants drawn uniformly or by
// a skew.
type synthetic struct {
	deck    []Request
	seed    uint64
	tenants int
	skew    zipf
}

// Round returns a round of endless requests.
func (s *synthetic) Round(round, rounds int) Round {
	return syntheticRound{s, RoundNo{round, rounds}}
}

// TypicalHold returns the mean hold.
func (s *synthetic) TypicalHold() budget.Microcents { return meanHold(s.deck) }

type syntheticRound struct {
	*synthetic
	RoundNo
}

// Generator draws from the seed, the round and the worker.
func (r syntheticRound) Generator(worker int) Generator {
	rng := rand.NewPCG(r.seed, uint64(r.Number)<<32|uint64(worker)+1) //nolint:gosec // a count
	return func(_ uint64, req *Request) bool {
		bits := rng.Uint64()
		*req = r.deck[bits%deckSize]
		if r.skew.upTo != nil {
			req.Tenant = r.skew.tenant(uint32(bits >> 32))
		} else {
			req.Tenant = int((bits >> 32) * uint64(r.tenants) >> 32) //nolint:gosec // a count
		}
		return true
	}
}

// Offset returns 0: requests are due at once.
func (r syntheticRound) Offset(int) (time.Duration, bool) { return 0, true }

// Tokens are log-normal, as in published usage traces.
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

// newDeck draws the requests in advance, to keep that work out of the measurement. Of 1000,
// above cost more than they hold.
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
		r, err := t.request(context, generated)
		if err != nil {
			return nil, fmt.Errorf("a request of %s and %s cannot be priced: %w; lower the prices or --max-output",
				wording.Count(context, "context token"), wording.Count(t.maxOutput, "generated token"), err)
		}
		r.Failed = kind >= above && kind < above+failedPermille
		deck[i] = r
	}
	return deck, nil
}

func logNormal(rng *rand.Rand, median, spread float64, highest int64) int64 {
	return min(highest, 1+int64(median*math.Exp(spread*rng.NormFloat64())))
}

// zipf draws the k-th tenant with a probability proportional to 1/k^exponent. Published
// traffic has exponents of about 1 or below, which rand.Zipf does not support, so this is a
// table with a binary search per draw.
type zipf struct {
	upTo []uint32 // of 2^32, the probability of this tenant and all before it
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

// tenant returns the tenant that 32 random bits select.
func (z zipf) tenant(bits uint32) int {
	i, _ := slices.BinarySearch(z.upTo, bits)
	return i
}
