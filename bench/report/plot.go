package report

import (
	"fmt"
	"math"
	"strings"
)

// plot is a diagram of the page. Places on it are shares of its area, so that a
// browser fits it into any width while text and lines keep their size.
type plot struct {
	Label   string // says in a sentence what is to be seen
	YName   string
	XName   string
	Keys    []key // none where the name of the axis says it
	X, Y    []tick
	Curves  []curve
	Marks   []mark
	Columns []column
}

// tick is a line across the area, and what is written at its end, if anything.
type tick struct {
	At    float64
	Label string
}

// curve is one series; its look is the Series-th of the style sheet.
type curve struct {
	Series int
	Path   string // in a square of 100 × 100
	Dots   []dot
}

type dot struct {
	X, Y         float64
	Lowest, Most float64 // of a spread; equal where there is none
}

// mark is a line from top to bottom that has a name.
type mark struct {
	At    float64
	Label string
	Left  bool // the label has its place to the left of the line
}

// column is a part of the width whose figures a pointer asks for.
type column struct {
	At, Width float64
	Text      string
}

// key says which curve is which.
type key struct {
	Series int
	Name   string
}

// point is a value of a curve in its own terms.
type point struct{ x, y float64 }

// draw joins points by lines; what the scales have no place for is a gap, and so
// is a distance in x above gap, if gap is not 0.
func draw(series int, points []point, x, y scale, gap float64) curve {
	var path strings.Builder
	verb, last := "M", math.Inf(-1)
	for _, p := range points {
		px, py := x.at(p.x), y.at(p.y)
		if math.IsNaN(py) || math.IsInf(py, 0) {
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

// columns are as wide as to meet in the middle between their neighbours.
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
