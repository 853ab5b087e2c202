package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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

const threeRows = TraceHeader + "\nt,1,1\nt,2,2\nt,3,3\n"

func TestReadTrace(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.csv")
	if _, err := traced(missing).Read(t.Context(), nil); exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), missing) {
		t.Errorf("a file that is not there: %v, code %d", err, exit.Code(err))
	}
	name := filepath.Join(t.TempDir(), "usage.csv")
	if err := os.WriteFile(name, []byte(threeRows), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, input := range map[string]string{name: "", StandardInput: threeRows} {
		spec, err := traced(name).Read(t.Context(), strings.NewReader(input))
		if err != nil || len(spec.Recording.Rows) != 3 {
			t.Fatalf("%s: %+v, %v", name, spec.Recording, err)
		}
		if again, err := spec.Read(t.Context(), nil); err != nil || again.Recording != spec.Recording {
			t.Errorf("%s is read a second time: %v", name, err)
		}
	}
	if _, err := traced(StandardInput).Read(t.Context(), strings.NewReader("x")); err == nil || !strings.HasPrefix(err.Error(), "standard input:1: no column TIMESTAMP") {
		t.Errorf("standard input without a trace: %v", err)
	}
}

// The end of the context ends a read, whether the writer is silent or never ends.
func TestReadTraceInterrupted(t *testing.T) {
	t.Parallel()
	silent, end := io.Pipe()
	defer end.Close()
	for name, input := range map[string]io.Reader{"silent": silent, "endless": endless{}} {
		ctx, cancel := context.WithCancel(t.Context())
		var waits sync.WaitGroup
		waits.Go(func() {
			if _, err := traced(StandardInput).Read(ctx, input); !errors.Is(err, exit.ErrInterrupted) {
				t.Errorf("%s: %v", name, err)
			}
		})
		cancel()
		waits.Wait()
	}
}

// endless is a file of empty lines.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// The tenants take turns over the rows of the whole, whichever part, node or number of
// tenants they are played with.
func TestTraceTenants(t *testing.T) {
	t.Parallel()
	const rows, nodes, rounds = 103, 3, 4
	all := &Recording{Every: 1}
	for i := range rows {
		all.Rows = append(all.Rows, Request{Hold: budget.Microcents(i)})
	}
	for _, tenants := range []int{1, 3, 7} {
		s := traced("usage.csv")
		s.Recording, s.Tenants = all, tenants
		played := 0
		for node := range nodes {
			// As it travels to a process.
			text, err := json.Marshal(s.ForNode(node, nodes))
			if err != nil {
				t.Fatal(err)
			}
			var received Spec
			if err := json.Unmarshal(text, &received); err != nil {
				t.Fatal(err)
			}
			work, err := Share(received, node, nodes)
			if err != nil {
				t.Fatal(err)
			}
			for round := range rounds {
				from := work.Part(round, rounds).Source(0)
				for r := (Request{}); from.Next(0, &r); played++ {
					if r.Tenant != int(r.Hold)%tenants {
						t.Errorf("row %d is of tenant %d of %d", r.Hold, r.Tenant, tenants)
					}
				}
			}
		}
		if played != rows {
			t.Errorf("played %d rows, want %d", played, rows)
		}
	}
}

// Each row is played once, whoever takes it, and the parts are the whole.
func TestRecordedParts(t *testing.T) {
	t.Parallel()
	const rounds = 5
	work := &Trace{Recording: &Recording{Rows: make([]Request, 103), Every: 1}, tenants: 10}
	for i := range work.Rows {
		work.Rows[i].Hold = budget.Microcents(i)
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
	for i := range work.Rows {
		if len(played) != len(work.Rows) || played[i] != budget.Microcents(i) {
			t.Fatalf("played %v", played)
		}
	}
}
