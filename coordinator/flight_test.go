package coordinator

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/redistest"
)

// muteConns is a dialer whose connections keep replies of executed commands back.
type muteConns struct {
	left    atomic.Int32           // number of connections that still have to fall silent
	part    atomic.Pointer[string] // part of a command that makes a connection silent
	release chan struct{}          // when closed, connections return the replies that they kept
}

func newSilence() *muteConns { return &muteConns{release: make(chan struct{})} }

// on silences the given number of connections, each from its next command with this part.
func (s *muteConns) on(part string, connections int32) {
	s.part.Store(&part)
	s.left.Store(connections)
}

func (s *muteConns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &silentConn{Conn: conn, s: s, closed: make(chan struct{})}, nil
}

type silentConn struct {
	net.Conn
	s      *muteConns
	silent atomic.Bool
	once   sync.Once
	closed chan struct{}
	until  atomic.Pointer[time.Time] // the deadline of a read
}

func (c *silentConn) SetReadDeadline(until time.Time) error {
	c.until.Store(&until)
	return c.Conn.SetReadDeadline(until)
}

func (c *silentConn) SetDeadline(until time.Time) error {
	return errors.Join(c.SetReadDeadline(until), c.SetWriteDeadline(until))
}

func (c *silentConn) Write(b []byte) (int, error) {
	if part := c.s.part.Load(); part != nil && bytes.Contains(b, []byte(*part)) && c.s.left.Add(-1) >= 0 {
		c.silent.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *silentConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil || !c.silent.Load() {
		return n, err
	}
	var late <-chan time.Time
	if until := c.until.Load(); until != nil && !until.IsZero() {
		late = time.After(time.Until(*until))
	}
	select {
	case <-late:
		return 0, os.ErrDeadlineExceeded
	case <-c.s.release:
		return n, nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *silentConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func withMaxFlight(limit time.Duration) Option { return func(c *config) { c.maxFlight = limit } }

// wrapped is a client of unknown type, of which the node sees only the methods.
type wrapped struct{ redis.UniversalClient }

// untimedClients wait for replies forever. Each starts its server, and returns a function
// that connects to it.
var untimedClients = map[string]func(t *testing.T, s *muteConns) func() redis.UniversalClient{
	"single server": func(t *testing.T, s *muteConns) func() redis.UniversalClient {
		o := redistest.Start(t).Options()
		o.Dialer, o.ReadTimeout = s.dial, -1
		return func() redis.UniversalClient { return redis.NewClient(o) }
	},
	"wrapped": func(t *testing.T, s *muteConns) func() redis.UniversalClient {
		o := redistest.Start(t).Options()
		o.Dialer, o.ReadTimeout = s.dial, -2
		return func() redis.UniversalClient { return wrapped{redis.NewClient(o)} }
	},
	"Cluster": func(t *testing.T, s *muteConns) func() redis.UniversalClient {
		o := redis.ClusterOptions{Addrs: redistest.StartCluster(t).Addrs(), Dialer: s.dial, ReadTimeout: -1}
		return func() redis.UniversalClient { return redis.NewClusterClient(&o) }
	},
	"Cluster with deadlines": func(t *testing.T, s *muteConns) func() redis.UniversalClient {
		o := redis.ClusterOptions{Addrs: redistest.StartCluster(t).Addrs(), Dialer: s.dial, ReadTimeout: -1, ContextTimeoutEnabled: true}
		return func() redis.UniversalClient { return redis.NewClusterClient(&o) }
	},
}

// Replies that never come block no caller: the node repeats on other connections,
// whatever the client's timeouts are, and each operation takes effect once.
func TestConnectionsThatStaySilent(t *testing.T) {
	for name, start := range untimedClients {
		t.Run(name, func(t *testing.T) {
			s, log := newSilence(), &logRecorder{}
			connect := start(t, s)
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			client := connect()
			c, err := New(t.Context(), client, log.option(), withMaxFlight(200*time.Millisecond))
			must(t, err)
			const tenants, each = 8, 5
			for i := range tenants {
				ensure(t, c, numbered("tenant", i), 1000)
			}
			s.on("\r\neval", 3)
			var wg sync.WaitGroup
			for i := range tenants * each {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					r, err := c.TryReserve(ctx, numbered("tenant", i%tenants), 1)
					if err != nil || r.Outcome != budget.Reserved {
						t.Errorf("a reserve: %+v, %v", r, err)
					}
				})
			}
			wg.Wait()
			if s.left.Load() > 0 {
				t.Error("no connection fell silent")
			}
			if name == "single server" || name == "Cluster with deadlines" {
				eventually(t, "silent connections are closed", func() bool { return c.dispatcher.Abandoned() == 0 })
			}
			must(t, c.Ready(t.Context()))
			must(t, c.Close(t.Context()))
			close(s.release) // late replies answer no call
			for tenant, account := range auditAll(t, client) {
				if account.Balance.Reserved != each {
					t.Errorf("%s: %d are reserved, want %d", tenant, account.Balance.Reserved, each)
				}
			}
			if !strings.Contains(log.text(), "abandoned an unanswered command") {
				t.Errorf("it was not logged:\n%s", log.text())
			}
			must(t, client.Close())
		})
	}
}

func auditAll(t *testing.T, client redis.UniversalClient) map[budget.TenantID]budget.HoldList {
	t.Helper()
	if w, ok := client.(wrapped); ok {
		client = w.UniversalClient
	}
	return audit(t, client)
}

// untimed returns a node whose client waits forever and shows it only its methods.
func untimed(t *testing.T, opts ...Option) (*Coordinator, *muteConns, *logRecorder) {
	t.Helper()
	s, log := newSilence(), &logRecorder{}
	client := untimedClients["wrapped"](t, s)()
	t.Cleanup(func() { client.Close() })
	return node(t, client, append([]Option{log.option()}, opts...)...), s, log
}

// While a command is unanswered the node is not ready, even if the server answers others.
func TestReadySeesAnUnansweredCommand(t *testing.T) {
	t.Parallel()
	c, s, _ := untimed(t, withMaxFlight(time.Minute))
	ensure(t, c, "acme", 1000)
	must(t, c.Ready(t.Context()))
	s.on("\r\nevalsha", 1)
	answered := make(chan error, 1)
	go func() {
		_, err := c.TryReserve(context.Background(), "acme", 1)
		answered <- err
	}()
	var err error
	eventually(t, "the node is not ready", func() bool { err = c.Ready(t.Context()); return err != nil })
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "a command is unanswered for 1") {
		t.Errorf("Ready: %v", err)
	}
	close(s.release)
	must(t, <-answered)
	must(t, c.Ready(t.Context()))
}

// The breaker opens by the age of the oldest command, long before that command is given
// up, and closes when its late reply arrives.
func TestBreakerSeesAnUnansweredCommand(t *testing.T) {
	t.Parallel()
	c, s, log := untimed(t, withMaxFlight(time.Minute), WithBreaker(100*time.Millisecond))
	ensure(t, c, "acme", 1000)
	s.on("\r\nevalsha", 1)
	answered := make(chan error, 1)
	go func() {
		_, err := c.TryReserve(context.Background(), "acme", 1)
		answered <- err
	}()
	eventually(t, "the breaker opens", func() bool { return openBreakers(c) == 1 })
	close(s.release)
	must(t, <-answered)
	eventually(t, "the breaker closes", func() bool { return openBreakers(c) == 0 })
	log.loggedOnce(t, "circuit breaker open")
	log.loggedOnce(t, "circuit breaker closed")
}

func openBreakers(c *Coordinator) (n int) {
	c.dispatcher.Breakers(func(_ string, state dispatch.BreakerState) {
		if state != dispatch.BreakerClosed {
			n++
		}
	})
	return n
}

// A check that is never answered is sent again, and neither Ready nor Holds nor Close
// waits for it.
func TestRequestsThatAreNeverAnswered(t *testing.T) {
	t.Parallel()
	s := newSilence()
	client := untimedClients["wrapped"](t, s)()
	t.Cleanup(func() { client.Close() })
	c, err := New(t.Context(), client, quiet(), withMaxFlight(100*time.Millisecond), WithCallTimeout(time.Minute))
	must(t, err)
	ensure(t, c, "acme", 1000)
	reserve(t, c, 1)
	s.on("\r\neval\r\n", 1)
	must(t, c.Ready(t.Context()))
	if asked := -s.left.Load(); asked < 1 {
		t.Errorf("Ready sent %d requests after the one without an answer", asked)
	}
	s.on("\r\neval\r\n", 1)
	if list, err := c.Holds(t.Context(), "acme"); err != nil || len(list.Holds) != 1 {
		t.Errorf("Holds: %+v, %v", list, err)
	}
	s.on("\r\nevalsha\r\n", 1)
	if err := c.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if s.left.Load() > 0 {
		t.Error("no connection fell silent")
	}
}
