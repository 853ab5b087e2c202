//go:build faults

package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// fleet is a group of worker processes, with the answers to all their callers.
type fleet struct {
	t       *testing.T
	load    workload
	workers []*process
	// boundary is that of the windows of a workload that rolls.
	boundary time.Time
	before   bool // the workers were at work before it
}

// process is one worker process.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	log    *bytes.Buffer
	read   chan struct{} // closed when all its output is read
	killed bool

	mu     sync.Mutex
	events []event
	begun  map[[2]int64]event // by caller and beginning
}

const eachBudget = 1_000_000_000

// tenants returns tenants of which every other one has two levels above it.
func tenants(n int) []budget.TenantID {
	var all []budget.TenantID
	for i := range n {
		name := "tenant-%d"
		if i%2 == 1 {
			name = "org-%d/team/key"
		}
		all = append(all, budget.TenantID(fmt.Sprintf(name, i)))
	}
	return all
}

// ensure creates a tenant, and the levels above it with settings and a budget that is never
// the least.
func (f *fleet) ensure(c *coordinator.Coordinator, tenant budget.TenantID) {
	f.t.Helper()
	for level := tenant.Parent(); level != ""; level = level.Parent() {
		settings := []budget.Setting{budget.Overdraft(eachBudget), budget.CapHold(1000), budget.AtThresholds(50)}
		if f.load.Roll {
			settings = append(settings, budget.InWindow(budget.Window{Period: budget.Hour, Carry: 50 * eachBudget}))
		}
		_, err := c.EnsureTenant(f.t.Context(), level, 100*eachBudget, settings...)
		must(f.t, err)
	}
	if r, err := c.EnsureTenant(f.t.Context(), tenant, eachBudget); err != nil || r.Outcome != budget.Created {
		f.t.Fatal(r, err)
	}
}

// start creates the tenants and the workers, and returns when all workers are at work.
func start(t *testing.T, admin redis.UniversalClient, workers int, load workload) *fleet {
	t.Helper()
	if load.Timeout == 0 {
		load.Timeout = 500 * time.Millisecond
	}
	if load.Callers == 0 {
		load.Callers = 8
	}
	if load.Pause == 0 {
		load.Pause = 2 * time.Millisecond
	}
	if load.HoldTTL == 0 {
		load.HoldTTL = 10 * time.Minute
	}
	if load.Tenants == nil {
		load.Tenants = tenants(6)
	}
	f := &fleet{t: t, load: load}
	if load.Roll {
		const ahead = 3 * time.Second
		f.boundary = time.Now().Truncate(time.Hour).Add(time.Hour)
		f.load.Offset = time.Until(f.boundary) - ahead
	}
	c := f.node(admin)
	for _, tenant := range load.Tenants {
		f.ensure(c, tenant)
	}
	for i := range workers {
		f.spawn(uint64(i))
	}
	f.awaitCallers()
	f.before = f.load.now().Before(f.boundary)
	return f
}

// awaitCallers waits until every worker has answered its callers.
func (f *fleet) awaitCallers() {
	f.t.Helper()
	f.await("all callers to be at work", 20*time.Second, func() bool {
		for _, p := range f.workers {
			if p.count(func(e event) bool { return e.Ended > 0 && e.Outcome == budget.Committed }) < f.load.Callers {
				return false
			}
		}
		return true
	})
}

// node returns a coordinator of the test itself.
func (f *fleet) node(client redis.UniversalClient, opts ...coordinator.Option) *coordinator.Coordinator {
	f.t.Helper()
	if f.load.Roll {
		opts = append(opts, coordinator.WithClock(f.load.now))
	}
	c, err := coordinator.New(f.t.Context(), client, append(opts, coordinator.WithLogger(slog.New(slog.DiscardHandler)),
		coordinator.WithHoldTTL(f.load.HoldTTL), coordinator.WithRetention(10*time.Minute, 1_000_000))...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx) // the fault may have stopped its Redis
	})
	return c
}

func (f *fleet) spawn(seed uint64) *process {
	f.t.Helper()
	load := f.load
	load.Seed = seed
	text, err := json.Marshal(load)
	if err != nil {
		f.t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), log: &bytes.Buffer{}, read: make(chan struct{}), begun: make(map[[2]int64]event)}
	p.cmd.Env = append(os.Environ(), workerVariable+"="+string(text))
	p.cmd.Stderr = p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.kill)
	go p.listen(stdout)
	f.workers = append(f.workers, p)
	return p
}

func (p *process) listen(stdout io.Reader) {
	defer close(p.read)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // the last line of a killed worker
		}
		key := [2]int64{int64(e.Caller), e.Began}
		p.mu.Lock()
		if e.Ended == 0 {
			p.begun[key] = e
		} else {
			delete(p.begun, key)
			p.events = append(p.events, e)
		}
		p.mu.Unlock()
	}
}

// kill sends SIGKILL.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.read
	_ = p.cmd.Wait()
}

func (p *process) count(is func(event) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, e := range p.events {
		if is(e) {
			n++
		}
	}
	return n
}

func (f *fleet) count(is func(event) bool) int {
	n := 0
	for _, p := range f.workers {
		n += p.count(is)
	}
	return n
}

// inFlight returns the number of operations that have begun, as far as the test has read,
// and have no answer yet.
func (f *fleet) inFlight() int {
	n := 0
	for _, p := range f.workers {
		p.mu.Lock()
		n += len(p.begun)
		p.mu.Unlock()
	}
	return n
}

func (f *fleet) unknown() int {
	return f.count(func(e event) bool { return e.Failure == "unknown" })
}

// awaitUnknown waits until the fault has hit operations in flight: some that were sent have an
// unknown outcome.
func (f *fleet) awaitUnknown() {
	f.t.Helper()
	before := f.unknown()
	f.await("an outcome unknown to its caller", 10*time.Second, func() bool { return f.unknown() > before })
}

// killInFlight kills a server while operations are in flight: some that were sent have an
// unknown outcome. It counts those from before the kill, since no more follow.
func (f *fleet) killInFlight(server *redistest.Server) {
	f.t.Helper()
	before := f.unknown()
	server.Kill()
	f.await("an outcome unknown to its caller", 10*time.Second, func() bool { return f.unknown() > before })
}

// awaitCommits waits until more further commits have succeeded.
func (f *fleet) awaitCommits(more int) {
	f.t.Helper()
	good := func(e event) bool { return e.Outcome == budget.Committed }
	target := f.count(good) + more
	f.await(fmt.Sprintf("%d more commits", more), 30*time.Second, func() bool { return f.count(good) >= target })
}

func (f *fleet) await(what string, timeout time.Duration, is func() bool) {
	f.t.Helper()
	for began := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > timeout {
			f.t.Fatalf("not within %s: %s\n%s", timeout, what, f.logs())
		}
	}
}

func (f *fleet) logs() string {
	var all strings.Builder
	for i, p := range f.workers {
		p.kill()
		last := p.events[max(0, len(p.events)-5):]
		fmt.Fprintf(&all, "worker %d: %.3000s\nlast event: %+v\n", i, p.log, last)
	}
	return all.String()
}

// stop lets every worker end: callers are answered, unknown outcomes are resolved, the
// node is closed.
func (f *fleet) stop() {
	f.t.Helper()
	if f.load.Roll {
		f.await("the boundary", 20*time.Second, func() bool { return f.load.now().After(f.boundary) })
		f.awaitCommits(100)
	}
	for _, p := range f.workers {
		_ = p.stdin.Close()
	}
	for i, p := range f.workers {
		select {
		case <-p.read:
		case <-time.After(60 * time.Second):
			f.t.Fatalf("worker %d does not end", i)
		}
		if p.killed {
			continue
		}
		if err := p.cmd.Wait(); err != nil {
			f.t.Fatalf("worker %d: %v\n%s", i, err, p.log)
		}
		if n := p.count(func(e event) bool { return e.Op == "close" && e.Failure == "" }); n != 1 {
			f.t.Errorf("worker %d did not close: %+v", i, p.events[len(p.events)-1])
		}
	}
}

// noFailure checks that callers that wait long enough only saw latency.
func (f *fleet) noFailure() {
	f.t.Helper()
	for _, p := range f.workers {
		for _, e := range p.events {
			if e.Failure != "" {
				f.t.Fatalf("%s failed: %s", e.Op, e.Text)
			}
		}
	}
}

// gaps returns the number of losses of writes in the logs of workers that have ended.
func (f *fleet) gaps() (n int) {
	for _, p := range f.workers {
		n += strings.Count(p.log.String(), "Redis lost acknowledged writes")
	}
	return n
}
