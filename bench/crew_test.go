package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// inProcesses is a run of three nodes, each a process of its own: this test's program.
func inProcesses() Config {
	c := brief()
	c.Processes, c.Nodes, c.Duration = true, 3, 400*time.Millisecond
	return c
}

// What processes are told adds up to what is in the books, in each kind of loop.
func TestProcesses(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Config){
		"closed":      func(*Config) {},
		"open":        func(c *Config) { c.Rate = 300 },
		"in rounds":   func(c *Config) { c.Rounds, c.Warmup = 2, 50*time.Millisecond },
		"many on one": func(c *Config) { c.Workload, c.Tenants = load.Hot, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := inProcesses()
			edit(&c)
			result, err := Run(t.Context(), c)
			if err != nil || !result.Conserved || result.Overspent != 0 || result.Cycles == 0 || result.InDoubt != 0 || !result.Processes {
				t.Fatalf("%v: %+v", err, result)
			}
			settled := result.Outcomes["committed"] + result.Outcomes["released"]
			if settled != result.Cycles || result.Outcomes["reserved"] != settled+int64(result.OpenHolds) {
				t.Errorf("%d cycles, %d open holds, outcomes %v", result.Cycles, result.OpenHolds, result.Outcomes)
			}
			due := int64(c.Rate*result.Seconds) + 1
			if sent := result.Outcomes["reserved"] + result.Outcomes["insufficient"]; c.Rate > 0 && sent+result.Workload.Unsent > due+3 {
				t.Errorf("%d requests sent, %d not, and %d were due", sent, result.Workload.Unsent, due)
			}
			if result.Reserve.P50 <= 0 || len(result.Timeline) == 0 || result.Contenders[0].RoundTrips <= 0 {
				t.Errorf("percentiles %+v, %d moments, %f round trips", result.Reserve, len(result.Timeline), result.Contenders[0].RoundTrips)
			}
		})
	}
}

// Each row of a trace is played once, by one of the nodes, and each request of a count.
func TestProcessesShareTheWork(t *testing.T) {
	t.Parallel()
	c := inProcesses()
	c.Requests, c.Warmup, c.Duration = 100, 0, time.Hour
	result, err := Run(t.Context(), c)
	if got := result.Outcomes["reserved"] + result.Outcomes["insufficient"]; err != nil || got != 100 {
		t.Errorf("%d requests of 100, %v", got, err)
	}
	c.Requests, c.Duration, c.Budget, c.MaxOutput = 0, 0, budget.Dollar, 100
	c.Trace = traceFile(t, "2023-11-16 18:17:03.9,4808,10\n2023-11-16 18:17:03.9,0,200\n2023-11-16 18:17:04,1,1\n2023-11-16 18:17:04.1,2,2\n")
	for _, c.Speed = range []float64{0, 2} {
		result, err := Run(t.Context(), c)
		if want := budget.Microcents(4811*250 + 213*1000); err != nil || !result.Conserved || result.Cycles != 4 || result.Committed != want {
			t.Errorf("%v: %d cycles, committed %d, want 4 and %d", err, result.Cycles, result.Committed, want)
		}
	}
}

// A node that dies is named, the others are stopped, the books are checked with its part
// in doubt, and no key and no process is left.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := inProcesses()
	c.Redis, c.Duration, c.Warmup = server.URL(), time.Hour, 0
	var a *arena
	crew := func() *crew { return a.ours.pools[0].fleet.crew }
	c.Watch = func(p Progress) {
		if p.Decisions > 0 {
			crew().members[1].kill()
		}
	}
	work, err := load.New(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = openArena(t.Context(), c, work.Typical()); err != nil {
		t.Fatal(err)
	}
	m := &match{config: c, work: work, arena: a}
	if err := m.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.failure = m.play(t.Context())
	result, err := m.finish(t.Context())
	if err := a.close(t.Context()); err != nil {
		t.Error(err)
	}
	if exit.Code(err) != exit.Unavailable || !strings.Contains(fmt.Sprint(err), "node 2 (process ") || !strings.HasSuffix(fmt.Sprint(err), "has ended: signal: killed") {
		t.Errorf("code %d, %v; want %d and the node", exit.Code(err), err, exit.Unavailable)
	}
	if !result.Audited || !result.Conserved || result.InDoubt == 0 || result.Cycles == 0 {
		t.Errorf("%+v", result)
	}
	for _, member := range crew().members {
		if member.process.ProcessState == nil {
			t.Errorf("node %d is left", member.number)
		}
	}
	if keys := server.Client().Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("keys are left: %q", keys)
	}
}

// A node that cannot begin says why, once.
func TestProcessThatCannotBegin(t *testing.T) {
	t.Parallel()
	c := inProcesses()
	a, err := openArena(t.Context(), func() Config { c.Processes = false; return c }(), 1)
	if err != nil {
		t.Fatal(err)
	}
	f := a.field
	f.tenants = append([]budget.TenantID{"nobody"}, f.tenants...)
	if _, _, err := a.muster(t.Context(), c, f, 0, nil); err == nil || !strings.Contains(err.Error(), `node 1: tenant "nobody": the answer is missing_tenant`) {
		t.Errorf("%v, want the node and the tenant", err)
	}
	if err := a.close(t.Context()); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// Each caller is asked for what it would be in a single process.
func TestNodesPlayOneWorkload(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Nodes, c.Concurrency, c.Requests = 1, 1, 50
	work, err := load.New(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		n := &node{assignment: assignment{Config: c, Tenants: tenantNames(c.Tenants, ""), Node: i, Nodes: 3}}
		var got, want []budget.Microcents
		f := n.fleet(scriptless{reserve: func(hold budget.Microcents) (budget.Reservation, error) {
			got = append(got, hold)
			return budget.Reservation{Outcome: budget.Insufficient}, nil
		}})
		if _, err := f.play(t.Context(), work.Part(0, 1), 0); err != nil {
			t.Fatal(err)
		}
		var r load.Request
		for from := work.Part(0, 1).Source(i); from.Next(0, &r); {
			want = append(want, r.Hold)
		}
		if len(want) != 50 || !slices.Equal(got, want) {
			t.Errorf("node %d plays %v, want %v", i, got, want)
		}
	}
}

// A stop that overtakes its order keeps it from beginning.
func TestNodeIsStoppedBeforeItBegins(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Tenants = 1
	n := &node{assignment: assignment{Config: c, Tenants: tenantNames(1, ""), Nodes: 1}, trips: new(contender.Trips), output: json.NewEncoder(io.Discard)}
	var err error
	if n.work, err = load.New(c.Spec); err != nil {
		t.Fatal(err)
	}
	n.stop(7)
	began := time.Now()
	n.play(t.Context(), order{Number: 7, Parts: 1, Limit: time.Hour})
	if took := time.Since(began); took > time.Minute || n.broken != nil {
		t.Errorf("it played for %s, %v", took, n.broken)
	}
}
