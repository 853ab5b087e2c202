package coordinator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// faults is a dialer whose connections lose, delay, cut off and repeat batches. Other
// commands pass.
type faults struct {
	on     atomic.Bool
	every  atomic.Int32 // fault of each batch, whatever else is set
	mu     sync.Mutex
	random *rand.Rand
	late   [][]byte // batches to be delivered again later
	count  map[fault]int
}

type fault int

const (
	pass        fault = iota
	dropReply         // executed, the reply is lost
	delayReply        // executed, the reply comes after the read timeout
	resetBefore       // not executed
	resetMiddle       // half of it is sent, not executed
	repeat            // executed, and delivered again later on another connection
	faultKinds
)

func (f *faults) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: conn, f: f}, nil
}

func (f *faults) choose(b []byte) fault {
	if !bytes.Contains(b, []byte("\r\neval")) {
		return pass
	}
	if kind := fault(f.every.Load()); kind != pass {
		return kind
	}
	if !f.on.Load() {
		return pass
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := pass
	if f.random.IntN(3) > 0 {
		kind = fault(f.random.IntN(int(faultKinds)))
	}
	if kind == repeat {
		f.late = append(f.late, bytes.Clone(b))
	}
	f.count[kind]++
	return kind
}

// counts returns how often each fault was chosen. A node may still be sending.
func (f *faults) counts() map[fault]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.count)
}

type faultyConn struct {
	net.Conn
	f       *faults
	verdict fault
}

func (c *faultyConn) Write(b []byte) (int, error) {
	c.verdict = c.f.choose(b)
	if c.verdict == resetBefore {
		return 0, errors.Join(syscall.ECONNRESET, c.Close())
	}
	if c.verdict == resetMiddle {
		n, err := c.Conn.Write(b[:len(b)/2])
		return n, errors.Join(syscall.ECONNRESET, err, c.Close())
	}
	return c.Conn.Write(b)
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b) // so the command was executed
	if c.verdict == dropReply {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Close())
	}
	if c.verdict == delayReply {
		return 0, errors.Join(os.ErrDeadlineExceeded, c.Close())
	}
	return n, err
}

// redeliver sends the recorded batches, in any order, each on a connection of its own.
func (f *faults) redeliver(t *testing.T, address string) {
	f.mu.Lock()
	late := f.late
	f.late = nil
	f.random.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	f.mu.Unlock()
	for _, raw := range late {
		deliver(t, address, raw)
	}
}

// result is the outcome that a caller got for one reservation.
type result struct {
	id      budget.ReservationID
	actual  budget.Microcents
	settled budget.Outcome // Unknown without an answer or a settlement
	asked   bool           // a settlement was sent, with whatever result
}

func TestEveryOperationTakesEffectOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	random := seeded(t)
	f := &faults{random: rand.New(rand.NewPCG(random.Uint64(), 0)), count: make(map[fault]int)}
	client := server.Client()
	const tenants, nodes, callers, rounds = 48, 2, 12, 25
	var group []*Coordinator
	for range nodes {
		opts := server.Options()
		opts.Dialer = f.dial
		faulty := redis.NewClient(opts)
		t.Cleanup(func() { faulty.Close() })
		group = append(group, node(t, faulty, WithPartitions(64))) // small batches
	}
	for i := range tenants {
		ensure(t, group[0], numbered("tenant", i), 1_000_000)
	}
	executed := executions(t, client)
	f.on.Store(true)
	var mu sync.Mutex
	var results []result
	var operations, unknown atomic.Int64
	var wg sync.WaitGroup
	for k := range nodes * callers {
		seed := random.Uint64()
		wg.Go(func() {
			own := rand.New(rand.NewPCG(seed, uint64(k)))
			for range rounds {
				one := faultyCycle(t, group[k%nodes], own, numbered("tenant", own.IntN(tenants)), &operations, &unknown)
				mu.Lock()
				results = append(results, one...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f.redeliver(t, server.Addr())
	f.on.Store(false)
	for _, c := range group {
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	f.redeliver(t, server.Addr())
	if unknown.Load() == 0 {
		t.Error("no caller gave up: the faults tested nothing")
	}
	for kind := dropReply; kind < faultKinds; kind++ {
		if f.counts()[kind] == 0 {
			t.Errorf("fault %d did not happen", kind)
		}
	}
	executed = executions(t, client) - executed
	t.Logf("%d operations, %d unknown, %d batches executed, faults %v", operations.Load(), unknown.Load(), executed, f.counts())
	if int64(executed) <= operations.Load() {
		t.Errorf("the server executed %d batches for %d operations; too few were repeated to test anything", executed, operations.Load())
	}
	checkResults(t, client, results)
}

// faultyCycle reserves and settles, and gives up after a short time.
func faultyCycle(t *testing.T, c *Coordinator, random *rand.Rand, tenant budget.TenantID, operations, unknown *atomic.Int64) []result {
	shortTimeout := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Duration(1+random.IntN(60))*time.Millisecond)
	}
	note := func(err error) {
		operations.Add(1)
		if errors.Is(err, ErrUnknownOutcome) {
			unknown.Add(1)
		} else if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("unexpected error: %v", err)
		}
	}
	ctx, cancel := shortTimeout()
	defer cancel()
	cost := budget.Microcents(1 + random.IntN(100))
	r, err := c.TryReserve(ctx, tenant, cost)
	note(err)
	if err != nil || r.Outcome != budget.Reserved {
		return nil
	}
	one := result{id: r.ID, actual: budget.Microcents(random.IntN(int(cost) + 1))}
	if random.IntN(8) == 0 {
		return []result{one} // the caller dies
	}
	ctx, cancel = shortTimeout()
	defer cancel()
	var s budget.Settlement
	one.asked = true
	if random.IntN(3) == 0 {
		s, err = c.Release(ctx, r.ID)
	} else {
		s, err = c.Commit(ctx, r.ID, one.actual)
	}
	note(err)
	if err == nil && s.Err() != nil {
		t.Errorf("a settle of an open hold: %+v", s)
	}
	one.settled = s.Outcome
	return []result{one}
}

// checkResults compares every caller's results with the stored state: settling each
// reservation again shows how the first settlement ended.
func checkResults(t *testing.T, client *redis.Client, results []result) {
	t.Helper()
	books := audit(t, client)
	open := make(map[budget.ReservationID]bool)
	for _, account := range books {
		for _, hold := range account.Holds {
			open[hold.ID] = true
		}
	}
	fresh := node(t, client)
	committed := make(map[budget.TenantID]budget.Microcents)
	for _, one := range results {
		wasOpen := open[one.id]
		delete(open, one.id)
		if wasOpen {
			if one.settled != budget.Unknown {
				t.Errorf("%s: returned %s, and it is still open", one.id, one.settled)
			}
			continue
		}
		s, err := fresh.Release(t.Context(), one.id)
		if err != nil || s.Outcome != budget.MissingReservation || s.Prior == budget.Unknown || !one.asked {
			t.Fatalf("%s, returned %s, settlement sent %t: neither open nor known: %+v, %v", one.id, one.settled, one.asked, s, err)
		}
		if one.settled != budget.Unknown && one.settled != s.Prior {
			t.Errorf("%s: returned %s, but it was %s", one.id, one.settled, s.Prior)
		}
		if s.Prior == budget.Committed {
			committed[one.id.Tenant()] += one.actual
		}
	}
	for id := range open {
		t.Errorf("%s is held, but no caller got it", id)
	}
	for tenant, account := range books {
		if account.Balance.Committed != committed[tenant] {
			t.Errorf("%s: committed %d, callers' commits sum up to %d", tenant, account.Balance.Committed, committed[tenant])
		}
	}
}

// executions returns the number of batches that the server has executed: each begins with
// one HMGET, whether it is a script call of its own or shares one.
func executions(t *testing.T, client *redis.Client) int {
	t.Helper()
	return commandCalls(t, client, "hmget")
}
