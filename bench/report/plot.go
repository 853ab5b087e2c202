package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/bench/metrics"
)

// plot is a diagram of the page. Positions are shares of its area, so that it fits any width
// while text and lines keep their size.
type plot struct {
	Label   string // one sentence for screen readers
	YName   string
	XName   string
	Keys    []key // none if the name of the axis is enough
	X, Y    []tick
	Curves  []curve
	Marks   []mark
	Columns []column
}

// tick is a line across the area, with an optional label.
type tick struct {
	At    float64
	Label string
}

// curve is one series, drawn in the Series-th style.
type curve struct {
	Series int
	Path   string // in a square of 100 × 100
	Dots   []dot
}

type dot struct {
	X, Y         float64
	Lowest, Most float64 // of a spread
}

// mark is a vertical line with a label.
type mark struct {
	At    float64
	Label string
	Left  bool // whether the label is left of the line
}

// column is a part of the width with a tooltip.
type column struct {
	At, Width float64
	Text      string
}

// key names a curve.
type key struct {
	Series int
	Name   string
}

// point is a value of a curve.
type point struct{ x, y float64 }

// line is a series of values.
type line struct {
	series  int
	name    string // in the legend, unless it is ""
	points  []point
	spreads []metrics.Spread // of points that are marked with dots
	gap     float64          // distance in x that is too long for a line; 0 is none
}

// axis covers values from the lowest above 0 to the highest.
type axis func(lowest, highest float64) (scale, []tick)

func latencyAxis(lowest, highest float64) (scale, []tick) {
	return logarithmic(lowest, highest, Micros)
}
func rateAxis(_, highest float64) (scale, []tick) { return linear(highest, Short) }
func costAxis(_, highest float64) (scale, []tick) { return linear(highest, Micros) }

func shareAxis(float64, float64) (scale, []tick) {
	return linear(1, func(share float64) string { return percent(math.Round(100 * share)) })
}

// with returns the plot with lines, of which the last one is in front.
func (p plot) with(x scale, covers axis, lines ...line) plot {
	lowest, highest := math.Inf(1), 0.0
	for _, l := range lines {
		for _, at := range l.points {
			if highest = max(highest, at.y); at.y > 0 {
				lowest = min(lowest, at.y)
			}
		}
		for _, spread := range l.spreads {
			highest = max(highest, spread.Most)
		}
	}
	y, ticks := covers(lowest, highest)
	p.Y = ticks
	for _, l := range lines {
		c := draw(l.series, l.points, x, y, l.gap)
		for i, spread := range l.spreads {
			if at := y.at(spread.Median); !math.IsInf(at, 0) {
				c.Dots = append(c.Dots, dot{X: x.at(l.points[i].x), Y: at, Lowest: y.at(spread.Lowest), Most: y.at(spread.Most)})
			}
		}
		p.Curves = append(p.Curves, c)
		if l.name != "" {
			p.Keys = append(p.Keys, key{l.series, l.name})
		}
	}
	slices.SortFunc(p.Keys, func(a, b key) int { return a.Series - b.Series })
	return p
}

// draw joins points by lines. Points without a position on the scale leave a gap, and so does
// a distance in x above gap, unless gap is 0.
func draw(series int, points []point, x, y scale, gap float64) curve {
	var path strings.Builder
	verb, last := "M", math.Inf(-1)
	for _, p := range points {
		px, py := x.at(p.x), y.at(p.y)
		if math.IsNaN(py) || math.IsInf(py, 0) || px > 1 {
			verb = "M"
			continue
		}
		if gap > 0 && p.x-last > gap {
			verb = "M"
		}
		fmt.Fprintf(&path, "%s%.2f %.2f", verb, 100*px, 100*(1-py))
		verb, last = "L", p.x
	}
	return curve{Series: series, Path: path.String()}
}

// columns meet in the middle between their neighbours.
func columns(places []float64, text func(i int) string) []column {
	all := make([]column, len(places))
	for i, at := range places {
		from, to := 0.0, 1.0
		if i > 0 {
			from = (places[i-1] + at) / 2
		}
		if i < len(places)-1 {
			to = (at + places[i+1]) / 2
		}
		all[i] = column{At: from, Width: max(to-from, 0), Text: text(i)}
	}
	return all
}

// scale places values on an axis: 0 at its beginning, 1 at its end.
type scale struct {
	of     func(float64) float64 // in which the axis is linear
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

// timeline ends at the end of the run, not at a tick.
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

// logarithmic covers lowest to highest in steps of 1, 2, 5, 10. Powers of ten have labels; if
// there are few, so have 2 and 5.
func logarithmic(lowest, highest float64, say func(float64) string) (scale, []tick) {
	if lowest <= 0 || highest < lowest {
		lowest, highest = 1, 10
	}
	step := func(i int) float64 {
		power := int(math.Floor(float64(i) / 3))
		return []float64{1, 2, 5}[i-3*power] * math.Pow10(power)
	}
	first := 3 * int(math.Floor(math.Log10(lowest)))
	for step(first+1) <= lowest*(1+1e-9) {
		first++
	}
	last := first + 1
	for step(last) < highest*(1-1e-9) {
		last++
	}
	s := scale{math.Log10, math.Log10(step(first)), math.Log10(step(last))}
	const wide = 2.5 // powers of ten; beyond, labels of 2 and 5 come too close
	var ticks []tick
	for i := first; i <= last; i++ {
		t := tick{At: s.at(step(i))}
		if i%3 == 0 || s.hi-s.lo < wide {
			t.Label = say(step(i))
		}
		ticks = append(ticks, t)
	}
	return s, ticks
}

// nines is the axis of HdrHistogram's plots, linear in the rarity of a value.
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
