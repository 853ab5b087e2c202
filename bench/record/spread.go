package record

import (
	"slices"

	"github.com/calybris/bursar/bench/report"
)

// Spread is the median with the lowest and the highest; zero of no values.
func Spread(values []float64) report.Spread {
	if len(values) == 0 {
		return report.Spread{}
	}
	return report.Spread{Median: Median(values), Lowest: slices.Min(values), Most: slices.Max(values)}
}

// Median is 0 of no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
