package load

import (
	"github.com/calybris/bursar/coordinator/budget"
)

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
