//go:build faults

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

// A worker is another process of this test binary: one node of a fleet, with callers.
const workerVariable = "BURSAR_FAULTS_WORKER"

func TestMain(m *testing.M) {
	if text := os.Getenv(workerVariable); text != "" {
		if err := work(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// workload is the configuration of a worker.
type workload struct {
	Seed     uint64
	Addrs    []string
	Sentinel string // the name of the primary that Sentinels at Addrs watch
	Cluster  bool
	Tenants  []budget.TenantID
	Callers  int
	Timeout  time.Duration // of a caller
	Pause    time.Duration // between two operations of a caller
	Work     time.Duration // between a reservation and its settlement
	HoldTTL  time.Duration
	NoRepair bool
	// Roll gives the levels above tenants a window whose boundary falls into the test, by clocks
	// that are Offset ahead.
	Roll      bool
	Offset    time.Duration
	Ensure    bool // callers ensure their tenant now and then, as fleets do when they start
	LeaveOpen int  // one in this many reservations is not settled, 0 for none
}

// event is an operation of a caller, with its answer; workers print one per line.
type event struct {
	Caller    int                  `json:"caller"`
	Op        string               `json:"op"` // reserve, commit, release, lookup, balance, close
	Tenant    budget.TenantID      `json:"tenant,omitempty"`
	ID        budget.ReservationID `json:"id"`
	Amount    budget.Microcents    `json:"amount,omitempty"`
	Began     int64                `json:"began"`           // ns
	Ended     int64                `json:"ended,omitempty"` // ns; 0 in the line printed at the beginning
	Outcome   budget.Outcome       `json:"outcome"`
	Prior     budget.Outcome       `json:"prior"`
	Remaining budget.Microcents    `json:"remaining"`
	Failure   string               `json:"failure,omitempty"` // the class of an error
	Text      string               `json:"text,omitempty"`
}

func (w workload) client() redis.UniversalClient {
	switch {
	case w.Sentinel != "":
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: w.Sentinel, SentinelAddrs: w.Addrs, DialTimeout: time.Second, ReadTimeout: time.Second})
	case w.Cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: w.Addrs, DialTimeout: time.Second, ReadTimeout: time.Second})
	default:
		return redis.NewClient(&redis.Options{Addr: w.Addrs[0], DialTimeout: time.Second, ReadTimeout: time.Second})
	}
}

func (w workload) now() time.Time { return time.Now().Add(w.Offset) }

type worker struct {
	workload
	node *coordinator.Coordinator
	mu   sync.Mutex
	out  *json.Encoder
	stop atomic.Bool

	unresolved []event
}

func work(text string) error {
	w := &worker{}
	if err := json.Unmarshal([]byte(text), &w.workload); err != nil {
		return err
	}
	lines := bufio.NewWriter(os.Stdout)
	w.out = json.NewEncoder(lines)
	go func() { // flush often, but without a system call for each line
		for range time.Tick(2 * time.Millisecond) {
			w.mu.Lock()
			_ = lines.Flush()
			w.mu.Unlock()
		}
	}()
	opts := []coordinator.Option{
		coordinator.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
		coordinator.WithHoldTTL(w.HoldTTL), coordinator.WithRetention(10*time.Minute, 1_000_000),
	}
	if w.Roll {
		opts = append(opts, coordinator.WithClock(w.now))
	}
	if w.NoRepair {
		opts = append(opts, coordinator.WithRepair(0, 0))
	}
	client := w.client()
	defer client.Close()
	var err error
	if w.node, err = coordinator.New(context.Background(), client, opts...); err != nil {
		return err
	}
	w.print(event{Op: "ready"})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		w.stop.Store(true)
	}()
	var callers sync.WaitGroup
	for caller := range w.Callers {
		callers.Go(func() { w.call(caller) })
	}
	callers.Wait()
	w.resolve()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	closed := event{Op: "close", Ended: time.Now().UnixNano()}
	if err := w.node.Close(ctx); err != nil {
		closed.Failure, closed.Text = "close", err.Error()
	}
	w.print(closed)
	w.mu.Lock()
	defer w.mu.Unlock()
	return lines.Flush()
}

func (w *worker) print(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(e)
}

// call runs one caller, which reserves and settles.
func (w *worker) call(caller int) {
	random := rand.New(rand.NewPCG(w.Seed, uint64(caller)))
	for !w.stop.Load() {
		tenant := w.Tenants[random.IntN(len(w.Tenants))]
		if w.Ensure && random.IntN(4) == 0 {
			w.do(event{Caller: caller, Op: "ensure", Tenant: tenant, Amount: eachBudget}, w.Timeout)
		}
		reserved := w.do(event{Caller: caller, Op: "reserve", Tenant: tenant, Amount: budget.Microcents(1 + random.IntN(100))}, w.Timeout)
		if reserved.Outcome == budget.Reserved && (w.LeaveOpen == 0 || random.IntN(w.LeaveOpen) > 0) {
			e := event{Caller: caller, Op: "commit", Tenant: tenant, ID: reserved.ID, Amount: budget.Microcents(random.Int64N(int64(reserved.Amount) + 1))}
			if random.IntN(4) == 0 {
				e.Op, e.Amount = "release", 0
			}
			time.Sleep(w.Work)
			w.do(e, w.Timeout)
		}
		time.Sleep(time.Duration(random.Int64N(int64(2*w.Pause) + 1)))
	}
}

// do performs an operation and prints an event before and after it.
func (w *worker) do(e event, timeout time.Duration) event {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	e.Began = time.Now().UnixNano()
	w.print(e)
	var err error
	switch e.Op {
	case "ensure":
		var r budget.Ensured
		r, err = w.node.EnsureTenant(ctx, e.Tenant, e.Amount)
		e.Outcome, e.Remaining = r.Outcome, r.Remaining
	case "reserve":
		var r budget.Reservation
		r, err = w.node.TryReserve(ctx, e.Tenant, e.Amount)
		e.Outcome, e.ID, e.Remaining = r.Outcome, r.ID, r.Remaining
	case "commit":
		var s budget.Settlement
		s, err = w.node.Commit(ctx, e.ID, e.Amount)
		e.Outcome, e.Prior, e.Remaining = s.Outcome, s.Prior, s.Remaining
	case "release":
		var s budget.Settlement
		s, err = w.node.Release(ctx, e.ID)
		e.Outcome, e.Prior, e.Remaining = s.Outcome, s.Prior, s.Remaining
	case "lookup":
		var f budget.Fate
		f, err = w.node.Lookup(ctx, e.ID)
		e.Outcome, e.Amount = f.Outcome, f.Amount
	}
	e.Ended = time.Now().UnixNano()
	if err != nil {
		e.Failure, e.Text = failureOf(err), err.Error()
		var unknown *coordinator.UnknownOutcomeError
		if errors.As(err, &unknown) {
			e.ID = unknown.ID
			w.mu.Lock()
			w.unresolved = append(w.unresolved, e)
			w.mu.Unlock()
		}
	}
	w.print(e)
	return e
}

// resolve looks up every operation whose outcome was unknown.
func (w *worker) resolve() {
	for _, e := range w.unresolved {
		w.do(event{Caller: e.Caller, Op: "lookup", Tenant: e.Tenant, ID: e.ID}, 30*time.Second)
	}
}

// failureOf returns the class of an error; the order matters.
func failureOf(err error) string {
	for _, class := range []struct {
		err  error
		name string
	}{
		{coordinator.ErrUnknownOutcome, "unknown"}, {coordinator.ErrGap, "gap"}, {coordinator.ErrRecreated, "recreated"},
		{coordinator.ErrOutOfMemory, "memory"}, {coordinator.ErrOverloaded, "overloaded"}, {coordinator.ErrClosed, "closed"},
		{coordinator.ErrCorrupt, "corrupt"}, {coordinator.ErrUnavailable, "unavailable"},
		{context.DeadlineExceeded, "deadline"},
	} {
		if errors.Is(err, class.err) {
			return class.name
		}
	}
	return "other"
}
