package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// ErrNoDistribution: the run has measured no decision's latency, so that there is no
// distribution to write.
var ErrNoDistribution = errors.New("no latency was measured, so that there are no percentiles to write")

// WriteHgrm writes the latencies of our decisions in HdrHistogram's percentile
// form, in microseconds, as its plotters read it. The footer has the mean and the
// standard deviation where they are known.
func (r Report) WriteHgrm(w io.Writer) error {
	if len(r.Contenders) == 0 || len(r.Contenders[0].Quantiles) == 0 {
		return ErrNoDistribution
	}
	ours := r.Contenders[0]
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")
	for _, q := range ours.Quantiles {
		fmt.Fprintf(out, "%12.3f %2.12f %10d %s\n", q.Micros, q.Percentile/100, q.Count, rarity(q.Percentile))
	}
	last := ours.Quantiles[len(ours.Quantiles)-1]
	if ours.Mean > 0 {
		fmt.Fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", ours.Mean, ours.Deviation)
	}
	fmt.Fprintf(out, "#[Max     = %12.3f, Total count    = %12d]\n", last.Micros, last.Count)
	return out.Flush()
}

// rarity is of how many decisions one is slower; of the slowest there is none.
func rarity(percentile float64) string {
	if percentile >= 100 {
		return fmt.Sprintf("%14s", "inf")
	}
	return fmt.Sprintf("%14.2f", 100/(100-percentile))
}
