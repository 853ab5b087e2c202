package load

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

func traced(name string) Spec {
	s := Defaults()
	s.Trace = name
	return s
}

func TestReadTraceFile(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.csv")
	if _, err := readTrace(traced(missing)); exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), missing) {
		t.Errorf("a file that is not there: %v, code %d", err, exit.Code(err))
	}
	name := filepath.Join(t.TempDir(), "usage.csv")
	if err := os.WriteFile(name, []byte(TraceHeader+"\nt,1,1\nt,2,2\nt,3,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	trace, err := readTrace(traced(name))
	if err != nil || len(trace.rows) != 3 {
		t.Fatalf("%d rows, %v", len(trace.rows), err)
	}
}

// Each row is played once, whoever takes it, and the parts are the whole.
func TestRecordedParts(t *testing.T) {
	t.Parallel()
	const rounds = 5
	work := &Trace{rows: make([]Request, 103)}
	for i := range work.rows {
		work.rows[i].Hold = budget.Microcents(i)
	}
	var mu sync.Mutex
	var played []budget.Microcents
	for round := range rounds {
		part := work.Part(round, rounds)
		var callers sync.WaitGroup
		for caller := range 4 {
			callers.Go(func() {
				from := part.Source(caller)
				for r := (Request{}); from.Next(0, &r); {
					mu.Lock()
					played = append(played, r.Hold)
					mu.Unlock()
				}
			})
		}
		callers.Wait()
	}
	slices.Sort(played)
	for i := range work.rows {
		if len(played) != len(work.rows) || played[i] != budget.Microcents(i) {
			t.Fatalf("played %v", played)
		}
	}
}
