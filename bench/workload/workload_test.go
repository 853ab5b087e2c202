package workload

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// drawnFrom returns the requests of one worker.
func drawnFrom(t *testing.T, s Spec, round, caller, count int) []Request {
	t.Helper()
	work, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	next := work.Round(round, 5).Generator(caller)
	requests := make([]Request, count)
	for i := range requests {
		next(uint64(i), &requests[i])
	}
	return requests
}

// In every workload, a seed gives each worker of each round its own requests, always the
// same.
func TestWorkloadsAreRepeatable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{Uniform, Hot, Zipf, Storm} {
		s := Defaults()
		s.Workload = name
		if name == Hot {
			s.Tenants = 1
		}
		first := drawnFrom(t, s, 1, 5, 100)
		if !slices.Equal(first, drawnFrom(t, s, 1, 5, 100)) {
			t.Errorf("%s: the same caller of the same round drew two sequences", name)
		}
		if slices.Equal(first, drawnFrom(t, s, 2, 5, 100)) || slices.Equal(first, drawnFrom(t, s, 1, 6, 100)) {
			t.Errorf("%s: another round or caller drew the same sequence", name)
		}
		s.Seed++
		if slices.Equal(first, drawnFrom(t, s, 1, 5, 100)) {
			t.Errorf("%s: another seed drew the same sequence", name)
		}
	}
}

func TestTariff(t *testing.T) {
	t.Parallel()
	prices := tariff{input: 250 * budget.Cent, output: 10 * budget.Dollar, maxOutput: 1000}
	for _, c := range []struct {
		name               string
		tariff             tariff
		context, generated int64
		Hold, Cost         budget.Microcents
	}{
		{"everyday", prices, 4808, 10, 4808*250 + 1000*1000, 4808*250 + 10*1000},
		{"nothing generated", prices, 100, 0, 25_000 + 1_000_000, 25_000},
		{"above the maximum", prices, 0, 1001, 1_000_000, 1_001_000},
		{"each part rounds up", tariff{input: 1, output: 1, maxOutput: 1}, 1, 1, 2, 2},
	} {
		got, err := c.tariff.request(c.context, c.generated)
		if err != nil || got.Hold != c.Hold || got.Cost != c.Cost {
			t.Errorf("%s: hold %d, cost %d, %v; want %d, %d", c.name, got.Hold, got.Cost, err, c.Hold, c.Cost)
		}
	}
	dear := tariff{input: budget.MaxMicrocents, output: budget.MaxMicrocents, maxOutput: 1_000_000}
	if _, err := dear.request(1_000_000, 1); !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("the dearest request: %v, want an overflow", err)
	}
}

func TestMeanHold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		holds []budget.Microcents
		want  budget.Microcents
	}{
		{"remainders count", []budget.Microcents{1, 2, 3}, 2},
		{"at least one", []budget.Microcents{0, 0}, 1},
		{"no overflow", []budget.Microcents{budget.MaxMicrocents, budget.MaxMicrocents}, budget.MaxMicrocents},
	} {
		requests := make([]Request, len(c.holds))
		for i, hold := range c.holds {
			requests[i].Hold = hold
		}
		if got := meanHold(requests); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Each tenant gets at least its number of requests, from all workers in the same order.
func TestBurst(t *testing.T) {
	t.Parallel()
	rush := Burst{Tenants: 3, Workers: 5, Requests: 11, Hold: 7}
	var asked [3]int
	for caller := range rush.Workers {
		last := 0
		for next, r := rush.Round(0, 1).Generator(caller), (Request{}); next(0, &r); last = r.Tenant {
			if r.Tenant < last || r.Hold != 7 || r.Cost != r.Hold || r.Failed {
				t.Fatalf("caller %d: %+v after tenant %d", caller, r, last)
			}
			asked[r.Tenant]++
		}
	}
	if asked != [3]int{15, 15, 15} {
		t.Errorf("asked %v times, want each 15 times: three times a caller", asked)
	}
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	trace := &Trace{Recording: &Recording{Rows: make([]Request, 4), At: []time.Duration{0, 100, 100, 900}, Every: 1}, tenants: 1, due: true}
	shared := &Trace{Recording: trace.share(1, 2), tenants: 1, due: true}
	ages := &Trace{Recording: &Recording{Rows: make([]Request, 2), At: []time.Duration{0, 200 * 365 * 24 * time.Hour}, Every: 1}, tenants: 1, due: true}
	steady := (&synthetic{}).Round(0, 1)
	for _, c := range []struct {
		name   string
		a      Arrivals
		part   Round
		offset []time.Duration // of the first ones
		until  time.Duration
		due    int64
	}{
		{"a rate", Arrivals{rate: 1000}, steady, []time.Duration{0, time.Millisecond, 2 * time.Millisecond}, 2 * time.Millisecond, 3},
		{"a node's share of it", Arrivals{rate: 1000}.Share(1, 4), steady, []time.Duration{time.Millisecond, 5 * time.Millisecond}, 4 * time.Millisecond, 1},
		{"a trace", Arrivals{speed: 1}, trace.Round(0, 1), []time.Duration{0, 100, 100, 900}, 100, 3},
		{"ten times as fast", Arrivals{speed: 10}, trace.Round(0, 1), []time.Duration{0, 10, 10, 90}, 10, 3},
		{"half as fast", Arrivals{speed: 0.5}, trace.Round(0, 1), []time.Duration{0, 200, 200, 1800}, time.Hour, 4},
		{"its second half", Arrivals{speed: 1}, trace.Round(1, 2), []time.Duration{0, 800}, 0, 1},
		{"a node's share of a trace", Arrivals{speed: 1}, shared.Round(0, 1), []time.Duration{100, 900}, 99, 0},
		{"centuries, at the lowest speed", Arrivals{speed: MinSpeed}, ages.Round(0, 1), []time.Duration{0, math.MaxInt64}, time.Hour, 1},
		{"a trace at a rate", Arrivals{rate: 1e9}, trace.Round(0, 1), []time.Duration{0, 1, 2, 3}, time.Millisecond, 4},
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
