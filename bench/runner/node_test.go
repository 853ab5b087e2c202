package runner

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A node that cannot start reports why, once.
func TestProcessThatCannotBegin(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := NewProcesses(t.Context(), NodeConfig{Config: plain(2, 1), Redis: server.URL(), Prefix: "fleet", Tenants: []budget.TenantID{"unknown"}, Nodes: 3}, nil, nil)
	if _, err := w.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `node 1: tenant "unknown": the answer is missing_tenant`) {
		t.Errorf("%v, want the node and the tenant", err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// Each worker gets the requests that it would get in a single process.
func TestNodesShareOneWorkload(t *testing.T) {
	t.Parallel()
	c := plain(1, 20)
	c.Requests = 50
	work, err := workload.New(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		n := &node{NodeConfig: NodeConfig{Config: c, Tenants: named(c.Tenants), Node: i, Nodes: 3}}
		var got, want []budget.Microcents
		f := n.runner(scriptless{reserve: func(hold budget.Microcents) (budget.Reservation, error) {
			got = append(got, hold)
			return budget.Reservation{Outcome: budget.Insufficient}, nil
		}})
		if _, err := f.Run(t.Context(), work.Round(0, 1), 0); err != nil {
			t.Fatal(err)
		}
		var r workload.Request
		for next := work.Round(0, 1).Generator(i); next(0, &r); {
			want = append(want, r.Hold)
		}
		if len(want) != 50 || !slices.Equal(got, want) {
			t.Errorf("node %d plays %v, want %v", i, got, want)
		}
	}
}

// A stop that overtakes its command keeps the phase from beginning.
func TestNodeIsStoppedBeforeItBegins(t *testing.T) {
	t.Parallel()
	c := plain(1, 1)
	n := &node{NodeConfig: NodeConfig{Config: c, Tenants: named(1), Nodes: 1}, trips: new(baseline.RoundTrips), output: json.NewEncoder(io.Discard)}
	var err error
	if n.work, err = workload.New(c.Spec); err != nil {
		t.Fatal(err)
	}
	n.stop(7)
	began := time.Now()
	n.runPhase(t.Context(), command{Number: 7, Rounds: 1, Limit: time.Hour})
	if took := time.Since(began); took > time.Minute || n.broken != nil {
		t.Errorf("it played for %s, %v", took, n.broken)
	}
}
