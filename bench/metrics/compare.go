package metrics

import (
	"errors"
	"sync"
	"time"
)

// Case is an operation that some callers repeat.
type Case struct {
	Callers int
	Each    int // answers that one call of Work counts as
	Work    func(caller int) error
}

// Comparison has medians over the rounds: the answers per second of both cases, and the
// ratio of the two within a round.
type Comparison struct {
	Ours, Theirs, Ratio float64
}

// Compare measures our case and theirs in interleaved rounds, in one process on one
// machine, so that a disturbance affects both. If theirs has several variants, the fastest
// counts in each round. The ratio is meaningful anywhere; the rates are the machine's.
// The first error of any Work ends the comparison.
func Compare(rounds int, round time.Duration, ours Case, theirs ...Case) (Comparison, error) {
	var own, other, ratios []float64
	for range rounds {
		best := 0.0
		for _, variant := range theirs {
			rate, err := variant.Rate(round)
			if err != nil {
				return Comparison{}, err
			}
			best = max(best, rate)
		}
		rate, err := ours.Rate(round)
		if err != nil {
			return Comparison{}, err
		}
		own, other, ratios = append(own, rate), append(other, best), append(ratios, rate/best)
	}
	return Comparison{Ours: Median(own), Theirs: Median(other), Ratio: Median(ratios)}, nil
}

// Rate runs one round, at least one call per caller, and returns the answers per second.
func (c Case) Rate(round time.Duration) (float64, error) {
	var wg sync.WaitGroup
	counts, errs := make([]int, c.Callers), make([]error, c.Callers)
	began := time.Now()
	end := began.Add(round)
	for k := range c.Callers {
		wg.Go(func() {
			for more := true; more; more = errs[k] == nil && time.Now().Before(end) {
				errs[k] = c.Work(k)
				counts[k]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n * c.Each
	}
	return float64(total) / time.Since(began).Seconds(), errors.Join(errs...)
}
