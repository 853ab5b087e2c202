package load

import (
	"slices"
	"testing"
)

// drawnFrom is what one caller is asked for.
func drawnFrom(t *testing.T, s Spec, round, caller, count int) []Request {
	t.Helper()
	work, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	from := work.Part(round, 5).Source(caller)
	requests := make([]Request, count)
	for i := range requests {
		from.Next(uint64(i), &requests[i])
	}
	return requests
}

// Whatever the workload, a seed gives each caller of each round its own requests,
// always the same.
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
