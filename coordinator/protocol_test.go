package coordinator

import (
	"context"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestLostPartitionIsReportedAndNotRecreated(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 10)
	client.FlushAll(t.Context())

	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "reserve in a lost partition", err, ErrGap)
	_, err = c.Commit(t.Context(), id, 1)
	wantErr(t, "commit in a lost partition", err, ErrGap)
	_, err = c.EnsureTenant(t.Context(), "acme", 1000)
	wantErr(t, "ensure in a lost partition", err, ErrRecreated)
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys exist; a node that used the partition must create nothing", n)
	}

	fresh := node(t, client)
	r, err := fresh.TryReserve(t.Context(), "acme", 1)
	if err != nil || r.Outcome != budget.MissingTenant {
		t.Errorf("new node: %+v, %v; want missing_tenant", r, err)
	}
	ensure(t, fresh, "acme", 500)
	_, err = c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "reserve in a recreated partition", err, ErrRecreated)
	_, err = c.EnsureTenant(t.Context(), "acme", 1000)
	wantErr(t, "ensure in a recreated partition", err, ErrRecreated)
	_, err = c.Holds(t.Context(), "acme")
	wantErr(t, "holds in a recreated partition", err, ErrRecreated)
}

func TestLostSessionIsAGap(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithRepair(0, 0))
	ensure(t, c, "acme", 1000)
	session := store.SessionField(c.node.ID())
	if client.HDel(t.Context(), acmeLedger, session).Val() != 1 {
		t.Fatal("the session is missing")
	}
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "first operation after the session was lost", err, ErrGap)
	if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Reserved != 0 {
		t.Errorf("afterwards: %+v, %v; want a working session and nothing held", b, err)
	}

	audit(t, client)
}

func TestLostWritesOfARestoredSnapshotAreAGap(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithRepair(0, 0))
	ensure(t, c, "acme", 1000)
	reserve(t, c, 10)
	old := client.Dump(t.Context(), acmeLedger).Val()
	id := reserve(t, c, 20)
	if err := client.RestoreReplace(t.Context(), acmeLedger, 0, old).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "first operation after a rollback", err, ErrGap)
	s, err := c.Commit(t.Context(), id, 20)
	if err != nil || s.Outcome != budget.MissingReservation { // without repair it is missing at once
		t.Errorf("commit of a lost hold: %+v, %v", s, err)
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 10 {
		t.Errorf("reserved %d, want the 10 of the snapshot", b.Reserved)
	}
}

// recorder keeps the bytes written to Redis, so that a test can send them again.
type recorder struct {
	mu     sync.Mutex
	writes [][]byte
}

func (r *recorder) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return recordingConn{conn, r}, err
}

type recordingConn struct {
	net.Conn
	r *recorder
}

func (c recordingConn) Write(b []byte) (int, error) {
	c.r.mu.Lock()
	c.r.writes = append(c.r.writes, append([]byte(nil), b...))
	c.r.mu.Unlock()
	return c.Conn.Write(b)
}

// last returns the newest write that carries a batch.
func (r *recorder) last(t *testing.T, kinds string) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.writes) - 1; i >= 0; i-- {
		if text := string(r.writes[i]); strings.Contains(text, "bursar:") && strings.Contains(text, "\r\n"+kinds+"\r\n") {
			return r.writes[i]
		}
	}
	t.Fatalf("no batch %q was written", kinds)
	return nil
}

// deliver sends raw bytes on a connection of its own and returns the reply.
func deliver(t *testing.T, address string, raw []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 4096)
	n, err := conn.Read(reply)
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(reply[:n]), "\r\n")
	return line
}

func TestLateBatchChangesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := &recorder{}
	opts := server.Options()
	opts.Dialer = r.dial
	recorded := redis.NewClient(opts)
	t.Cleanup(func() { recorded.Close() })
	c := node(t, recorded)
	client := server.Client()
	ensure(t, c, "acme", 1000)
	reserve(t, c, 7) // with the script's source
	id := reserve(t, c, 10)
	raw := r.last(t, "r")
	before := client.HGetAll(t.Context(), acmeLedger).Val()
	if reply := deliver(t, server.Addr(), raw); !strings.HasPrefix(reply, "A") {
		t.Errorf("repeat of the last batch: %q, want its stored reply", reply)
	}
	if after := client.HGetAll(t.Context(), acmeLedger).Val(); !maps.Equal(before, after) {
		t.Errorf("a repeat changed the stored state:\n%v\n%v", before, after)
	}
	if _, err := c.Commit(t.Context(), id, 10); err != nil {
		t.Fatal(err)
	}
	before = client.HGetAll(t.Context(), acmeLedger).Val()
	if reply := deliver(t, server.Addr(), raw); !strings.HasPrefix(reply, "STALE") {
		t.Errorf("late batch: %q, want STALE", reply)
	}
	if after := client.HGetAll(t.Context(), acmeLedger).Val(); !maps.Equal(before, after) {
		t.Errorf("a late batch changed the stored state:\n%v\n%v", before, after)
	}
}

// twins returns options for two nodes with one ID, as after a virtual machine was copied.
func twins() (Option, Option) {
	bits := randomBits()
	once := func() Option {
		first := true
		return func(c *config) {
			c.entropy = func() uint64 {
				if first {
					first = false
					return bits
				}
				return randomBits()
			}
		}
	}
	return once(), once()
}

func TestClonedNodeTakesANewID(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	ensure(t, node(t, client), "acme", 1000) // creates the record
	first, second := twins()
	a, b := node(t, client, first), node(t, client, second)
	if a.node.ID() != b.node.ID() {
		t.Fatal("the nodes aren't twins")
	}
	for range 4 {
		reserve(t, a, 1)
		reserve(t, b, 1)
	}
	if a.node.ID() == b.node.ID() {
		t.Error("both nodes still have one ID")
	}
	if got := audit(t, client)["acme"]; got.Balance.Reserved != 8 || len(got.Holds) != 8 {
		t.Errorf("reserved %d in %d holds, want 8 in 8", got.Balance.Reserved, len(got.Holds))
	}
}

func TestAnotherLayoutIsRejected(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	started := node(t, client)
	ensure(t, c, "acme", 1000)
	header := client.HGet(t.Context(), acmeLedger, "f").Val()
	record := client.Get(t.Context(), store.RecordKey("bursar")).Val()
	// A node of layout 2 debits a tenant without its ancestors.
	for _, other := range []string{"2", "9"} {
		client.HSet(t.Context(), acmeLedger, "f", other+header[1:])
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "a node that used the partition", err, ErrLayout)
		_, err = started.EnsureTenant(t.Context(), "acme", 1)
		wantErr(t, "a node that did not", err, ErrLayout)
		client.Del(t.Context(), store.RecordKey("bursar"))
		for _, partitions := range []int{0, 1} {
			_, err = New(t.Context(), client, quiet(), WithPartitions(partitions))
			wantErr(t, "a start without a record", err, ErrLayout)
		}
		client.HSet(t.Context(), acmeLedger, "f", header)
		client.Set(t.Context(), store.RecordKey("bursar"), other+record[1:], 0)
		_, err = New(t.Context(), client, quiet())
		wantErr(t, "a start", err, ErrLayout)
		client.Set(t.Context(), store.RecordKey("bursar"), record, 0)
	}
	audit(t, client)
}

// An account whose record is damaged rejects its own operations and no others.
func TestDamagedAccountsReject(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithPartitions(1))
	keys := store.KeysOf("bursar", 1, 0)
	ensure(t, c, "acme", 1000)
	ensure(t, c, "globex", 1000)
	reserve(t, c, 10)
	sound := client.HGet(t.Context(), keys.Ledger, "aacme").Val()
	change := func(at int, to byte) string {
		b := []byte(sound)
		b[at] = to
		return string(b)
	}
	for name, damaged := range map[string]string{
		"granted is off by one": change(7, sound[7]+1), "remaining is": change(15, sound[15]-1), "reserved is": change(23, 11), "committed is": change(31, 1),
		"granted has a sign": change(0, 0x80), "it is cut short": sound[:40], "it is empty": "", "it is text": "1000 990 10 0",
	} {
		client.HSet(t.Context(), keys.Ledger, "aacme", damaged)
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, name, err, ErrCorrupt)
		if r, err := c.TryReserve(t.Context(), "globex", 1); err != nil || r.Outcome != budget.Reserved {
			t.Errorf("%s: another tenant: %+v, %v", name, r, err)
		}
		if got := client.HGet(t.Context(), keys.Ledger, "aacme").Val(); got != damaged {
			t.Errorf("%s: the record was overwritten with %q", name, got)
		}
	}
	client.HSet(t.Context(), keys.Ledger, "aacme", sound)
	reserve(t, c, 1)
}

// A damaged hold pays nothing out, whatever ends it, and harms no other.
func TestDamagedHoldsReject(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	id, other := reserve(t, c, 10), reserve(t, c, 5)
	field := store.HoldField(id)
	sound := client.HGet(t.Context(), acmeLedger, field).Val()
	for name, damaged := range map[string]string{
		"more than is reserved": sound[:7] + "\x01" + sound[8:], "cut short": sound[:20], "an unknown state": "z" + sound[1:],
	} {
		client.HSet(t.Context(), acmeLedger, field, damaged)
		_, commitErr := c.Commit(t.Context(), id, 1)
		_, releaseErr := c.Release(t.Context(), id)
		wantErr(t, "commit of a hold: "+name, commitErr, ErrCorrupt)
		wantErr(t, "release of a hold: "+name, releaseErr, ErrCorrupt)
		client.ZAdd(t.Context(), acmeTimers, redis.Z{Score: 1, Member: field}) // it is due
		control := client.HGet(t.Context(), acmeLedger, "c").Val()
		client.HSet(t.Context(), acmeLedger, "c", control[:6]+"\x00\x00\x00\x00\x00\x01"+control[12:])
		if r, err := c.Remaining(t.Context(), "acme"); err != nil || r.Remaining != 985 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if got := client.HGet(t.Context(), acmeLedger, field).Val(); got != damaged {
			t.Errorf("%s: the hold was ended: %q", name, got)
		}
	}
	client.HSet(t.Context(), acmeLedger, field, sound)
	for _, id := range []budget.ReservationID{id, other} {
		if s, err := c.Commit(t.Context(), id, 3); err != nil || s.Outcome != budget.Committed {
			t.Errorf("an intact hold: %+v, %v", s, err)
		}
	}
	audit(t, client)
}

func TestForeignKeysAreRejected(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	client.Set(t.Context(), acmeLedger, "theirs", 0)
	_, err := c.EnsureTenant(t.Context(), "acme", 1)
	wantErr(t, "a foreign value at the ledger", err, ErrCorrupt)
	client.Del(t.Context(), acmeLedger)
	ensure(t, c, "acme", 1000)
	timers := client.Dump(t.Context(), acmeTimers).Val()
	client.Del(t.Context(), acmeTimers)
	client.Set(t.Context(), acmeTimers, "theirs", 0)
	_, err = c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "a foreign value at the timers", err, ErrCorrupt)
	if err == nil || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("the error %v", err)
	}
	client.RestoreReplace(t.Context(), acmeTimers, 0, timers)
	reserve(t, c, 1)
	audit(t, client)
}

func TestManyDueHoldsEndBeforeAnythingIsDecided(t *testing.T) {
	t.Parallel()
	clock := time.UnixMilli(1_700_000_000_000)
	var mu sync.Mutex
	c, client := startNode(t, WithHoldTTL(time.Second), WithClock(func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return clock
	}))
	const holds = 3000
	ensure(t, c, "acme", holds)
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			for range holds / 300 {
				reserve(t, c, 1)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	clock = clock.Add(time.Second)
	mu.Unlock()
	r, err := c.TryReserve(t.Context(), "acme", holds)
	if err != nil || r.Outcome != budget.Reserved {
		t.Errorf("all of the budget after all holds were due: %+v, %v", r, err)
	}
	audit(t, client)
}
