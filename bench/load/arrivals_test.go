package load

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestArrivals(t *testing.T) {
	t.Parallel()
	trace := &Trace{Recording: &Recording{Rows: make([]Request, 4), At: []time.Duration{0, 100, 100, 900}, Every: 1}, tenants: 1, due: true}
	shared := &Trace{Recording: trace.share(1, 2), tenants: 1, due: true}
	ages := &Trace{Recording: &Recording{Rows: make([]Request, 2), At: []time.Duration{0, 200 * 365 * 24 * time.Hour}, Every: 1}, tenants: 1, due: true}
	steady := (&drawn{}).Part(0, 1)
	for _, c := range []struct {
		name   string
		a      Arrivals
		part   Part
		offset []time.Duration // of the first ones
		until  time.Duration
		due    int64
	}{
		{"a rate", Arrivals{rate: 1000}, steady, []time.Duration{0, time.Millisecond, 2 * time.Millisecond}, 2 * time.Millisecond, 3},
		{"a node's share of it", Arrivals{rate: 1000}.Share(1, 4), steady, []time.Duration{time.Millisecond, 5 * time.Millisecond}, 4 * time.Millisecond, 1},
		{"a trace", Arrivals{speed: 1}, trace.Part(0, 1), []time.Duration{0, 100, 100, 900}, 100, 3},
		{"ten times as fast", Arrivals{speed: 10}, trace.Part(0, 1), []time.Duration{0, 10, 10, 90}, 10, 3},
		{"half as fast", Arrivals{speed: 0.5}, trace.Part(0, 1), []time.Duration{0, 200, 200, 1800}, time.Hour, 4},
		{"its second half", Arrivals{speed: 1}, trace.Part(1, 2), []time.Duration{0, 800}, 0, 1},
		{"a node's share of a trace", Arrivals{speed: 1}, shared.Part(0, 1), []time.Duration{100, 900}, 99, 0},
		{"centuries, at the lowest speed", Arrivals{speed: MinSpeed}, ages.Part(0, 1), []time.Duration{0, math.MaxInt64}, time.Hour, 1},
		{"a trace at a rate", Arrivals{rate: 1e9}, trace.Part(0, 1), []time.Duration{0, 1, 2, 3}, time.Millisecond, 4},
	} {
		var offsets []time.Duration
		for i := range c.offset {
			offset, exists := c.a.Due(c.part, i)
			if exists {
				offsets = append(offsets, offset)
			}
		}
		if !slices.Equal(offsets, c.offset) {
			t.Errorf("%s: due at %v, want %v", c.name, offsets, c.offset)
		}
		if due := c.a.Until(c.part, c.until); due != c.due {
			t.Errorf("%s: %d are due until %s, want %d", c.name, due, c.until, c.due)
		}
	}
}
