package metrics

import (
	"slices"
)

// Spread is the median of the rounds with the lowest and the highest.
type Spread struct {
	Median float64 `json:"median"`
	Lowest float64 `json:"lowest"`
	Most   float64 `json:"highest"`
}

// SpreadOf returns the median with the lowest and the highest; zero of no values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{Median: Median(values), Lowest: slices.Min(values), Most: slices.Max(values)}
}

// Median returns 0 of no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
