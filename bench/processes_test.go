package bench

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// inProcesses is a run of three nodes, each a process of this program.
func inProcesses() Config {
	c := counted(600)
	c.Processes, c.Nodes = true, 3
	return c
}

// The results of processes add up to the balances, in each kind of loop.
func TestProcesses(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Config){
		"closed":      func(*Config) {},
		"open":        func(c *Config) { c.Rate, c.Requests = 300, 120 },
		"in rounds":   func(c *Config) { c.Rounds, c.Warmup = 2, 50*time.Millisecond },
		"many on one": func(c *Config) { c.Workload, c.Tenants = workload.Hot, 1 },
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
			if result.Reserve.P50 <= 0 || len(result.Timeline) == 0 || result.Candidates[0].RoundTrips <= 0 {
				t.Errorf("percentiles %+v, %d moments, %f round trips", result.Reserve, len(result.Timeline), result.Candidates[0].RoundTrips)
			}
		})
	}
}

// The duration ends all processes.
func TestProcessesEndInTime(t *testing.T) {
	t.Parallel()
	c := inProcesses()
	c.Requests, c.Duration, c.Rounds, c.Warmup = 0, 400*time.Millisecond, 2, AutoWarmup
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.InDoubt != 0 || result.Interrupted || result.Seconds < 0.4 {
		t.Errorf("%v: %+v", err, result)
	}
}

// Each row of a trace is sent once, by one of the nodes, and so is each counted request.
func TestProcessesShareTheWork(t *testing.T) {
	t.Parallel()
	c := inProcesses()
	c.Requests = 100
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

func processOf(pid int) *os.Process {
	process, err := os.FindProcess(pid)
	if err != nil {
		panic(err)
	}
	return process
}

// A node that dies is named, the others are stopped, the balances are checked with its part
// in doubt, and no key and no process is left.
func TestProcessDies(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := inProcesses()
	c.Redis, c.Requests = server.URL(), 0
	var a *target
	var once sync.Once
	c.Watch = func(p report.Progress) {
		if p.Decisions > 0 {
			once.Do(func() { _ = processOf(a.ours.pools[0].runner.Pids()[1]).Kill() })
		}
	}
	work, err := workload.New(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = openTarget(t.Context(), t.Context(), c, work.TypicalHold()); err != nil {
		t.Fatal(err)
	}
	m := &benchRun{config: c, work: work, target: a}
	if err := m.setUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.failure = m.runRounds(t.Context())
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
	for _, pid := range a.ours.pools[0].runner.Pids() {
		if err := processOf(pid).Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("process %d is left: %v", pid, err)
		}
	}
	if keys := server.Client().Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("keys are left: %q", keys)
	}
}
