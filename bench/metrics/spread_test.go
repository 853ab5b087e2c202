package metrics

import (
	"testing"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, values := range map[float64][]float64{0: nil, 4: {4}, 3: {2, 4}, 5: {9, 5, 1}} {
		if got := Median(values); got != want {
			t.Errorf("median of %v is %f, want %f", values, got, want)
		}
	}
}
