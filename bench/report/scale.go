package report

import (
	"math"
	"slices"
	"strconv"
)

// scale places values on an axis: 0 at its beginning, 1 at its end.
type scale struct {
	of     func(float64) float64 // what the axis is even in
	lo, hi float64               // in those terms
}

func (s scale) at(value float64) float64 {
	if s.hi <= s.lo {
		return 0
	}
	return (s.of(value) - s.lo) / (s.hi - s.lo)
}

func even(value float64) float64 { return value }

// linear begins at 0 and ends with the last of its ticks, of which there are up to
// five.
func linear(highest float64, say func(float64) string) (scale, []tick) {
	const about = 4
	if highest <= 0 {
		highest = 1
	}
	step := roundStep(highest / about)
	s := scale{even, 0, math.Ceil(highest/step-1e-9) * step}
	var ticks []tick
	for i := 0; float64(i)*step <= s.hi+step/2; i++ {
		value := float64(i) * step
		ticks = append(ticks, tick{At: s.at(value), Label: say(value)})
	}
	return s, ticks
}

// timeline ends where the run did, and not with a tick.
func timeline(highest float64) (scale, []tick) {
	s, ticks := linear(highest, significant)
	if highest <= 0 {
		return s, ticks
	}
	whole := s.hi
	s.hi = highest
	for i := range ticks {
		ticks[i].At *= whole / highest
	}
	return s, slices.DeleteFunc(ticks, func(t tick) bool { return t.At > 1+1e-9 })
}

// roundStep is 1, 2, 2.5 or 5 times a power of ten, and no less than asked.
func roundStep(atLeast float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(atLeast)))
	for _, digit := range []float64{1, 2, 2.5, 5} {
		if digit*power >= atLeast*(1-1e-9) {
			return digit * power
		}
	}
	return 10 * power
}

// logarithmic covers lowest to highest, in steps of 1, 2, 5, 10. Each power of ten
// has a label; where there are few, 2 and 5 have one too.
func logarithmic(lowest, highest float64, say func(float64) string) (scale, []tick) {
	if lowest <= 0 || highest < lowest {
		lowest, highest = 1, 10
	}
	const wide = 2.5 // powers of ten; beyond, labels of 2 and 5 come too close
	first, last := int(math.Floor(math.Log10(lowest))), int(math.Ceil(math.Log10(highest)))
	var values []float64
	for power := first; power <= last; power++ {
		for _, digit := range []float64{1, 2, 5} {
			values = append(values, digit*math.Pow(10, float64(power)))
		}
	}
	for len(values) > 2 && values[1] <= lowest*(1+1e-9) {
		values = values[1:]
	}
	for len(values) > 2 && values[len(values)-2] >= highest*(1-1e-9) {
		values = values[:len(values)-1]
	}
	s := scale{math.Log10, math.Log10(values[0]), math.Log10(values[len(values)-1])}
	var ticks []tick
	for _, value := range values {
		t := tick{At: s.at(value)}
		if power := math.Log10(value); s.hi-s.lo < wide || math.Abs(power-math.Round(power)) < 1e-9 {
			t.Label = say(value)
		}
		ticks = append(ticks, t)
	}
	return s, ticks
}

// nines is the axis of HdrHistogram's plots: even in how rare a value is.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// shown are the percentiles that have a tick and a row.
var shown = []float64{0, 50, 90, 99, 99.9, 99.99, 99.999}

func rarities(rarest float64) (scale, []tick) {
	s := scale{nines, 0, min(max(nines(rarest), nines(99)), nines(shown[len(shown)-1]))}
	var ticks []tick
	for _, percentile := range shown {
		if at := s.at(percentile); at <= 1 {
			ticks = append(ticks, tick{At: at, Label: percent(percentile)})
		}
	}
	ticks[0].Label = "" // 50% stands too close for two
	return s, ticks
}

func percent(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) + "%" }
