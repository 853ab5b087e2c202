package record

import "github.com/calybris/bursar/coordinator/budget"

// Counts are answers by outcome; Unknown counts the calls without one.
type Counts [budget.Expired + 1]int64

// Add adds others.
func (c *Counts) Add(other *Counts) {
	for i, n := range other {
		c[i] += n
	}
}

// Answers are all but the calls without one.
func (c *Counts) Answers() int64 {
	var sum int64
	for _, n := range c[budget.Unknown+1:] {
		sum += n
	}
	return sum
}
