package report

import (
	"math/rand/v2"
	"slices"
)

// noKnee is the place of a knee that is not there.
const noKnee = -1

// What supports a knee.
const (
	fewestRounds = 3   // fewer show too little of the spread
	resamples    = 200 // are drawn
	supporting   = 180 // of them have the knee of the medians, or one beside it
)

// bends are the places at which a curve bends, as far as its rounds tell.
type bends struct {
	ofMedians   int // the place in the curve of medians
	support     int // the resamples that have the same place or one beside it
	rounds      int // the fewest of a point
	first, last int // the places of the middle nine tenths of the resamples; none counts as the last place
}

// supported reports whether the rounds leave no other place. That there is no knee
// takes no minimum of rounds.
func (b bends) supported() bool {
	return b.support >= supporting && (b.rounds >= fewestRounds || b.ofMedians == noKnee)
}

// spreadOver looks for a knee in curves that might have been measured as well: from
// each point's rounds as many are drawn with replacement, and their median is the
// resample's point (the bootstrap: B. Efron, "Bootstrap Methods: Another Look at the
// Jackknife", Annals of Statistics 1979). Equal rounds are drawn equally.
func spreadOver(rounds [][]float64, kneeOf func(medians []float64) int) bends {
	curve := make([]float64, len(rounds))
	b := bends{rounds: len(rounds[0])}
	for i, all := range rounds {
		curve[i], b.rounds = Median(all), min(b.rounds, len(all))
	}
	b.ofMedians = kneeOf(curve)
	rng := rand.New(rand.NewPCG(0, 0)) // the same points must mean the same
	places := make([]int, resamples)
	var drawn []float64
	for n := range places {
		for i, all := range rounds {
			drawn = drawn[:0]
			for range all {
				drawn = append(drawn, all[rng.IntN(len(all))])
			}
			curve[i] = Median(drawn)
		}
		place := kneeOf(curve)
		if place == b.ofMedians || place != noKnee && b.ofMedians != noKnee && max(place-b.ofMedians, b.ofMedians-place) == 1 {
			b.support++
		}
		if places[n] = place; place == noKnee {
			places[n] = len(rounds) - 1
		}
	}
	slices.Sort(places)
	b.first, b.last = places[resamples/20], places[resamples-1-resamples/20]
	return b
}
