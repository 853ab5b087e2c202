package coordinator

import (
	"context"
	"errors"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

const acmeBooks, acmeTimers = "bursar:{acme}:books", "bursar:{acme}:timers"

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func TestLostFamilyIsReportedAndNotRecreated(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 10)
	client.FlushAll(t.Context())

	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "reserve in a lost family", err, ErrGap)
	_, err = c.Commit(t.Context(), id, 1)
	wantErr(t, "commit in a lost family", err, ErrGap)
	_, err = c.EnsureTenant(t.Context(), "acme", 1000)
	wantErr(t, "ensure in a lost family", err, ErrRecreated)
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys exist; a node that knew the family must create nothing", n)
	}

	fresh := node(t, client)
	r, err := fresh.TryReserve(t.Context(), "acme", 1)
	if err != nil || r.Outcome != budget.MissingTenant {
		t.Errorf("new node: %+v, %v; want missing_tenant", r, err)
	}
	ensure(t, fresh, "acme", 500)
	_, err = c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "reserve in a family created anew", err, ErrRecreated)
	_, err = c.EnsureTenant(t.Context(), "acme", 1000)
	wantErr(t, "ensure in a family created anew", err, ErrRecreated)
	_, err = c.Holds(t.Context(), "acme")
	wantErr(t, "holds in a family created anew", err, ErrRecreated)
}

func TestLostSessionIsAGap(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithRepair(0, 0))
	ensure(t, c, "acme", 1000)
	session := "s" + layout.Incarnation(c.node.Load())
	if client.HDel(t.Context(), acmeBooks, session).Val() != 1 {
		t.Fatal("the session was not there")
	}
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "first operation after the session was lost", err, ErrGap)
	if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Reserved != 0 {
		t.Errorf("afterwards: %+v, %v; want a working session and nothing held", b, err)
	}

	// Long after the last answer, the session went by its retention.
	c.lane("acme").session.answeredAt = time.Now().Add(-7 * 24 * time.Hour)
	client.HDel(t.Context(), acmeBooks, session)
	reserve(t, c, 1)
	audit(t, client)
}

func TestLostWritesOfARestoredSnapshotAreAGap(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithRepair(0, 0))
	ensure(t, c, "acme", 1000)
	reserve(t, c, 10)
	old := client.Dump(t.Context(), acmeBooks).Val()
	id := reserve(t, c, 20)
	if err := client.RestoreReplace(t.Context(), acmeBooks, 0, old).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "first operation after a rollback", err, ErrGap)
	s, err := c.Commit(t.Context(), id, 20)
	if err != nil || s.Outcome != budget.MissingReservation { // no repair, and no window of doubt
		t.Errorf("commit of a lost hold: %+v, %v", s, err)
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 10 {
		t.Errorf("reserved %d, want the 10 of the snapshot", b.Reserved)
	}
}

// recorder keeps what is written to Redis, so that a test can send it again.
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
	reserve(t, c, 7) // with the script's text
	id := reserve(t, c, 10)
	raw := r.last(t, "r")
	before := client.HGetAll(t.Context(), acmeBooks).Val()
	if reply := deliver(t, server.Addr(), raw); !strings.HasPrefix(reply, luascripts.Applied) {
		t.Errorf("repeat of the last batch: %q, want its stored reply", reply)
	}
	if after := client.HGetAll(t.Context(), acmeBooks).Val(); !maps.Equal(before, after) {
		t.Errorf("a repeat changed the books:\n%v\n%v", before, after)
	}
	if _, err := c.Commit(t.Context(), id, 10); err != nil {
		t.Fatal(err)
	}
	before = client.HGetAll(t.Context(), acmeBooks).Val()
	if reply := deliver(t, server.Addr(), raw); !strings.HasPrefix(reply, luascripts.Stale) {
		t.Errorf("late batch: %q, want STALE", reply)
	}
	if after := client.HGetAll(t.Context(), acmeBooks).Val(); !maps.Equal(before, after) {
		t.Errorf("a late batch changed the books:\n%v\n%v", before, after)
	}
	changed := []byte(strings.Replace(string(r.last(t, "c")), "\r\n$2\r\n10\r\n", "\r\n$2\r\n11\r\n", 1))
	digest := layout.Incarnation(1)
	text := string(changed)
	at := strings.Index(text, lastDigest(t, client, c))
	if at < 0 {
		t.Fatal("the digest is not in the batch")
	}
	if reply := deliver(t, server.Addr(), []byte(text[:at]+digest+text[at+16:])); !strings.HasPrefix(reply, luascripts.Cloned) {
		t.Errorf("another batch under the same number: %q, want CLONED", reply)
	}
}

func lastDigest(t *testing.T, client *redis.Client, c *Coordinator) string {
	t.Helper()
	return strings.Fields(client.HGet(t.Context(), acmeBooks, "s"+layout.Incarnation(c.node.Load())).Val())[1]
}

func TestClonedNodeTakesANewNumber(t *testing.T) {
	t.Parallel()
	a, client := startNode(t)
	ensure(t, a, "acme", 1000)
	b := node(t, client)
	b.node.Store(a.node.Load())
	for range 4 {
		reserve(t, a, 1)
		reserve(t, b, 1)
	}
	if a.node.Load() == b.node.Load() {
		t.Error("both nodes still have one number")
	}
	if got := audit(t, client)["acme"]; got.Balance.Reserved != 8 || len(got.Holds) != 8 {
		t.Errorf("reserved %d in %d holds, want 8 in 8", got.Balance.Reserved, len(got.Holds))
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	started := node(t, client)
	ensure(t, c, "acme", 1000)
	text := client.HGet(t.Context(), acmeBooks, "f").Val()
	client.HSet(t.Context(), acmeBooks, "f", "2"+text[1:])
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "a node that knows the family", err, ErrLayout)
	_, err = started.EnsureTenant(t.Context(), "acme", 1)
	wantErr(t, "a node that does not", err, ErrLayout)
	_, err = New(t.Context(), client, quiet())
	wantErr(t, "a start", err, ErrLayout)
	client.HSet(t.Context(), acmeBooks, "f", text)
	audit(t, client)
}

func TestCorruptTermsAreNoticed(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	reserve(t, c, 10)
	sound := client.HGet(t.Context(), acmeBooks, "a").Val()
	if sound != "1000 990 10 0" {
		t.Fatalf("account %q", sound)
	}
	for _, corrupt := range []string{
		"1001 990 10 0", "1000 991 10 0", "1000 990 11 0", "1000 990 10 1",
		"1e3 990 10 0", "1000 990 10", "", "99999999999999999999 990 10 0", "1000 -990 10 0",
	} {
		client.HSet(t.Context(), acmeBooks, "a", corrupt)
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "account "+corrupt, err, ErrCorrupt)
		if got := client.HGet(t.Context(), acmeBooks, "a").Val(); got != corrupt {
			t.Errorf("account %q was written over with %q", corrupt, got)
		}
	}
	client.HSet(t.Context(), acmeBooks, "a", sound)
	reserve(t, c, 1)
	audit(t, client)
}

// A hold that is not what it was when it was made pays nothing out, whoever ends it.
func TestCorruptHoldsAreNoticed(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 10)
	field := string(layout.AppendHoldField(nil, id))
	sound := client.HGet(t.Context(), acmeBooks, field).Val()
	for _, corrupt := range []string{
		"o90" + sound[3:], "o10x" + sound[3:], "o10", "o", "", "o99999999999999999999" + sound[3:], "o-1" + sound[3:],
	} {
		client.HSet(t.Context(), acmeBooks, field, corrupt)
		_, commitErr := c.Commit(t.Context(), id, 1)
		_, releaseErr := c.Release(t.Context(), id)
		client.ZAdd(t.Context(), acmeTimers, redis.Z{Score: 1, Member: field})
		client.HSet(t.Context(), acmeBooks, "n", "1") // the hold is due
		_, err := c.Remaining(t.Context(), "acme")
		if strings.HasPrefix(corrupt, "o") {
			for what, err := range map[string]error{"commit": commitErr, "release": releaseErr, "its deadline": err} {
				wantErr(t, what+" of a hold "+corrupt, err, ErrCorrupt)
			}
		}
		if got := client.HMGet(t.Context(), acmeBooks, "a", field).Val(); got[0] != "1000 990 10 0" || got[1] != corrupt {
			t.Errorf("hold %q was ended: %q", corrupt, got)
		}
		client.ZAdd(t.Context(), acmeTimers, redis.Z{Score: 9e12, Member: field})
	}
	client.HSet(t.Context(), acmeBooks, field, sound)
	if s, err := c.Commit(t.Context(), id, 3); err != nil || s.Outcome != budget.Committed {
		t.Errorf("the sound hold: %+v, %v", s, err)
	}
	audit(t, client)
}

func TestForeignKeysAreRefused(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	client.Set(t.Context(), acmeBooks, "theirs", 0)
	_, err := c.EnsureTenant(t.Context(), "acme", 1)
	wantErr(t, "a foreign value at the books", err, ErrCorrupt)
	client.Del(t.Context(), acmeBooks)
	ensure(t, c, "acme", 1000)
	timers := client.Dump(t.Context(), acmeTimers).Val()
	client.Del(t.Context(), acmeTimers)
	client.Set(t.Context(), acmeTimers, "theirs", 0)
	_, err = c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "a foreign value at the timers", err, ErrCorrupt)
	if err == nil || !strings.Contains(err.Error(), `family "acme"`) || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("the error does not name the family: %v", err)
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
