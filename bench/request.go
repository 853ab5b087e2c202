package bench

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/calybris/bursar/coordinator/budget"
)

// request is one piece of paid work.
type request struct {
	tenant int
	hold   budget.Microcents // reserved: the worst case
	cost   budget.Microcents // committed: what it came to
	failed bool              // released instead: it came to nothing
}

// tariff turns tokens into money.
type tariff struct {
	input, output budget.Microcents // a million tokens
	maxOutput     int64
}

func (c Config) tariff() tariff {
	return tariff{input: c.InputPrice, output: c.OutputPrice, maxOutput: c.MaxOutput}
}

// request prices the worst case and what was really generated.
func (t tariff) request(context, generated int64) (request, error) {
	hold, err := t.cost(context, t.maxOutput)
	if err != nil {
		return request{}, err
	}
	cost, err := t.cost(context, generated)
	return request{hold: hold, cost: cost}, err
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
func newDeck(seed uint64, t tariff, above int) ([]request, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	deck := make([]request, deckSize)
	for i := range deck {
		context := logNormal(rng, medianContext, contextSpread, maxContext)
		generated := logNormal(rng, medianGenerated, generatedSpread, t.maxOutput)
		kind := rng.IntN(allParts)
		if kind < above {
			generated = t.maxOutput + 1 + rng.Int64N(t.maxOutput)
		}
		drawn, err := t.request(context, generated)
		if err != nil {
			return nil, fmt.Errorf("a request of %d and %d tokens cannot be priced: %w; lower the prices or --max-output", context, t.maxOutput, err)
		}
		drawn.failed = kind >= above && kind < above+failedPart
		deck[i] = drawn
	}
	return deck, nil
}

func logNormal(rng *rand.Rand, median, spread float64, highest int64) int64 {
	return min(highest, 1+int64(median*math.Exp(spread*rng.NormFloat64())))
}
