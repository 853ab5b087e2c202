package metrics

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Case is one of two ways: so many callers that repeat work. Each is how many
// answers one turn of it counts as.
type Case struct {
	Callers int
	Each    int
	Work    func(caller int) error
}

// Comparison has medians over the rounds: answers a second of both sides, and of the
// rounds' ratios.
type Comparison struct {
	Ours, Theirs, Ratio float64
}

// Compare plays so many rounds of each side in turns. Theirs is in each round the
// best of several forms, of which each gets a round's time. The first error of
// any work ends it.
func Compare(rounds int, round time.Duration, ours Case, theirs ...Case) (Comparison, error) {
	var mine, yours, ratios []float64
	for range rounds {
		best := 0.0
		for _, side := range theirs {
			rate, err := side.Rate(round)
			if err != nil {
				return Comparison{}, err
			}
			best = max(best, rate)
		}
		rate, err := ours.Rate(round)
		if err != nil {
			return Comparison{}, err
		}
		mine, yours, ratios = append(mine, rate), append(yours, best), append(ratios, rate/best)
	}
	return Comparison{Ours: median(mine), Theirs: median(yours), Ratio: median(ratios)}, nil
}

// Rate plays one round, at least a turn a caller, and returns the answers a second.
func (s Case) Rate(round time.Duration) (float64, error) {
	var wg sync.WaitGroup
	counts, errs := make([]int, s.Callers), make([]error, s.Callers)
	began := time.Now()
	end := began.Add(round)
	for k := range s.Callers {
		wg.Go(func() {
			for more := true; more; more = errs[k] == nil && time.Now().Before(end) {
				errs[k] = s.Work(k)
				counts[k]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n * s.Each
	}
	return float64(total) / time.Since(began).Seconds(), errors.Join(errs...)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
