package coordinator

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// interceptor is a dialer whose connections answer a command in Redis' place, like a proxy
// that lost its own connection to Redis.
type interceptor struct {
	matches  func(command []byte) bool
	text     string // the answer
	left     atomic.Int32
	executed atomic.Int32 // number of them that still reach Redis
}

func (m *interceptor) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &interceptedConn{Conn: conn, m: m}, nil
}

func with(part string) func([]byte) bool {
	return func(command []byte) bool { return bytes.Contains(command, []byte(part)) }
}

// next intercepts the next times matching commands; the first executed of them reach Redis.
func (m *interceptor) next(matches func([]byte) bool, text string, times, executed int32) {
	m.matches, m.text = matches, text
	m.executed.Store(executed)
	m.left.Store(times)
}

type interceptedConn struct {
	net.Conn
	m                      *interceptor
	intercepted, forwarded bool
}

func (c *interceptedConn) Write(b []byte) (int, error) {
	c.intercepted = c.m.left.Load() > 0 && c.m.matches(b) && c.m.left.Add(-1) >= 0
	if c.intercepted {
		if c.forwarded = c.m.executed.Add(-1) >= 0; !c.forwarded {
			return len(b), nil
		}
	}
	return c.Conn.Write(b)
}

func (c *interceptedConn) Read(b []byte) (int, error) {
	if !c.intercepted {
		return c.Conn.Read(b)
	}
	c.intercepted = false
	if c.forwarded {
		if n, err := c.Conn.Read(b); err != nil {
			return n, err
		}
	}
	return copy(b, c.m.text+"\r\n"), nil
}

// intercepted returns a node whose client uses the interceptor, and a client that doesn't.
func intercepted(t *testing.T, opts ...Option) (*Coordinator, *interceptor, *redis.Client) {
	t.Helper()
	server := redistest.Start(t)
	client, m := interceptedClient(t, server)
	return node(t, client, opts...), m, server.Client()
}

func interceptedClient(t *testing.T, server *redistest.Server) (*redis.Client, *interceptor) {
	t.Helper()
	m := &interceptor{}
	o := server.Options()
	o.Dialer = m.dial
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client, m
}

// maxRefusals is the number of times that a lane sends a rejected command.
const maxRefusals = 2

// unknownReplies are replies that no Redis gives, or not to a script.
var unknownReplies = []string{
	"-upstream failure", "-ERR upstream failure", "-ERR", "-", "-\x00\xff -ERR", "-LOADINGS of replies", "-NOSCRIPTS here",
	"-ERR unknown", "+OK", ":1", "$-1", "*0", "$4\r\nWHAT",
}

// An unknown reply does not show whether the command was executed: the node finds out,
// and no error claims that nothing happened.
func TestUnknownReplyLeavesTheOutcomeOpen(t *testing.T) {
	t.Parallel()
	for _, text := range append([]string{"-ERR max number of clients reached", "-LOADING Redis is loading", "-BUSY Redis is busy"}, unknownReplies...) {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			log := &logRecorder{}
			c, m, client := intercepted(t, log.option())
			ensure(t, c, "acme", 1000)
			for executed := range int32(2) {
				interceptedOperations(t, c, m, client, text, executed)
			}
			if strings.Contains(log.text(), "another process uses") {
				t.Errorf("the log: %s", log.text())
			}
		})
	}
}

// interceptedOperations moves money in each way while the first two replies are text. The
// first copy of the command is executed, or none; a further one may be.
func interceptedOperations(t *testing.T, c *Coordinator, m *interceptor, client *redis.Client, text string, executed int32) {
	t.Helper()
	type operation struct {
		part string
		do   func(ctx context.Context) error
		took func(before, after budget.Balance) bool
	}
	var hold budget.ReservationID
	var reserved budget.Reservation
	for name, op := range map[string]operation{
		"grant": {"\r\ng\r\n", func(ctx context.Context) error {
			_, err := c.Grant(ctx, "acme", 100)
			return err
		}, func(before, after budget.Balance) bool { return after.Granted == before.Granted+100 }},
		"withdraw": {"\r\nw\r\n", func(ctx context.Context) error {
			_, err := c.Withdraw(ctx, "acme", 50)
			return err
		}, func(before, after budget.Balance) bool { return after.Granted == before.Granted-50 }},
		"commit": {"\r\nc\r\n", func(ctx context.Context) error {
			_, err := c.Commit(ctx, hold, 7)
			return err
		}, func(before, after budget.Balance) bool { return after.Committed == before.Committed+7 }},
		"reserve": {"\r\nr\r\n", func(ctx context.Context) (err error) {
			reserved, err = c.TryReserve(ctx, "acme", 20)
			return err
		}, func(before, after budget.Balance) bool { return after.Reserved == before.Reserved+20 }},
	} {
		hold = reserve(t, c, 10)
		before := audit(t, client)["acme"].Balance
		m.next(with(op.part), text, 2, executed)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := op.do(ctx)
		cancel()
		m.left.Store(0)
		if err != nil && (!errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, ErrUnavailable)) {
			t.Errorf("%s, %d executed: %v; want an answer or an unknown outcome", name, executed, err)
		}
		if _, err := c.Remaining(t.Context(), "acme"); err != nil { // after the node has resolved it
			t.Errorf("%s, %d executed: afterwards %v", name, executed, err)
		}
		eventually(t, "all is resolved", func() bool { return c.node.InFlight() == 0 })
		after := audit(t, client)["acme"].Balance
		took := op.took(before, after)
		want := took || after == before // exactly once or not at all
		switch {
		case err == nil:
			want = took
		case name == "reserve":
			want = after == before // released, or never held
		case executed == 1:
			want = took
		}
		if !want {
			t.Errorf("%s, %d executed, returned %v: from %+v to %+v", name, executed, err, before, after)
		}
		if _, err := c.Release(t.Context(), hold); err != nil {
			t.Error(err)
		}
		if reserved.Outcome == budget.Reserved {
			if _, err := c.Release(t.Context(), reserved.ID); err != nil {
				t.Error(err)
			}
			reserved = budget.Reservation{}
		}
	}
}

// Several tenants share a batch whose one reply is an error: each outcome is resolved.
func TestUnknownReplyToASharedBatch(t *testing.T) {
	t.Parallel()
	log := &logRecorder{}
	c, m, client := intercepted(t, log.option(), WithPartitions(1))
	const tenants = 8
	for i := range tenants {
		ensure(t, c, numbered("tenant", i), 1000)
	}
	for executed := range int32(2) {
		m.next(with("\r\ng"), "-upstream failure", 4, 4*executed)
		answers := make(chan error, tenants)
		for i := range tenants {
			go func() {
				_, err := c.Grant(t.Context(), numbered("tenant", i), 100)
				answers <- err
			}()
		}
		for range tenants {
			if err := <-answers; err != nil && !errors.Is(err, ErrUnknownOutcome) {
				t.Errorf("%d executed: %v", executed, err)
			}
		}
		m.left.Store(0)
		eventually(t, "all is resolved", func() bool { return c.node.InFlight() == 0 })
	}
	for tenant, account := range audit(t, client) {
		if granted := account.Balance.Granted; granted != 1000+200 {
			t.Errorf("%s: granted %d, want each grant once", tenant, granted)
		}
	}
	if strings.Contains(log.text(), "another process uses") {
		t.Errorf("the log: %s", log.text())
	}
}

// An unknown reply to a command that opens a session or creates a partition: no call was
// sent, so the command is repeated, or the error shows that nothing happened.
func TestUnknownReplyBeforeTheBatch(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, part := range map[string]string{
		"record": "\r\nsetnx\r\n", "record again": "\r\nget\r\n", "timers": "\r\nzadd\r\n", "ledger": "\r\nhsetnx\r\n", "open": "\r\n$1\r\n1\r\n$" + strconv.Itoa(len(acmeLedger)) + "\r\n" + acmeLedger + "\r\n$8\r\n",
	} {
		for _, text := range []string{"-upstream failure", "-ERR upstream failure"} {
			for _, times := range []int32{1, 2} {
				for executed := range times + 1 {
					server.Client().FlushAll(t.Context())
					client, m := interceptedClient(t, server)
					c := node(t, client)
					m.next(with(part), text, times, executed)
					e, err := c.EnsureTenant(t.Context(), "acme", 1000)
					switch _, there := audit(t, server.Client())["acme"]; {
					case err == nil && (e.Outcome != budget.Created || !there):
						t.Errorf("%s: %+v, tenant exists: %t", name, e, there)
					case err != nil && (!errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) || there):
						t.Errorf("%s: %v, tenant exists: %t", name, err, there)
					case err != nil && times < maxRefusals:
						t.Errorf("%s: %v after one such reply", name, err)
					}
					if m.left.Load() > 0 {
						t.Errorf("%s: no reply was intercepted", name)
					}
					if _, err := c.EnsureTenant(t.Context(), "acme", 1000); err != nil {
						t.Errorf("%s: afterwards %v", name, err)
					}
				}
			}
		}
	}
}

func TestUnknownReplyToASweep(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	c, m, client := intercepted(t, WithClock(func() time.Time { return time.UnixMilli(1_700_000_000_000 + ahead.Load()) }))
	ensure(t, c, "acme", 10_000)
	var wg sync.WaitGroup
	for range 1500 {
		wg.Go(func() { reserve(t, c, 1) })
	}
	wg.Wait()
	ahead.Store(budget.DefaultHoldTTL.Milliseconds() + 1)
	sweep := func(command []byte) bool {
		return bytes.HasSuffix(command, []byte("\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n"))
	}
	m.next(sweep, "-upstream failure", 1, 1)
	if r, err := c.TryReserve(t.Context(), "acme", 10_000); err != nil || r.Outcome != budget.Reserved {
		t.Errorf("all is due: %+v, %v", r, err)
	}
	if m.left.Load() > 0 {
		t.Error("no reply was intercepted")
	}
	audit(t, client)
}
