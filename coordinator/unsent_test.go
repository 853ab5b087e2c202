package coordinator

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// scriptless is an error reply that no script raised.
type scriptless string

func (e scriptless) Error() string { return string(e) }
func (scriptless) RedisError()     {}

// closedGate rejects commands while it is closed, as a limiter and as a hook.
type closedGate struct {
	closed  atomic.Bool
	refused atomic.Int32
}

var errGate = errors.New("the gate is closed")

func (g *closedGate) Allow() error {
	if !g.closed.Load() {
		return nil
	}
	g.refused.Add(1)
	return errGate
}

func (g *closedGate) ReportResult(error) {}

func (g *closedGate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (g *closedGate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := g.Allow(); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (g *closedGate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := g.Allow(); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// A failure before a byte is written is as definite as a pool timeout: the error says
// that nothing was sent, whatever caused it.
func TestFailuresBeforeTheWriteAreUnsent(t *testing.T) {
	t.Parallel()
	for name, setUp := range map[string]func(g *closedGate, o *redis.Options){
		"a limiter": func(g *closedGate, o *redis.Options) { o.Limiter = g },
		"a hook":    nil,
		"a dialer's own error": func(g *closedGate, o *redis.Options) {
			o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if err := g.Allow(); err != nil {
					return nil, err
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		},
		"a provider of credentials": func(g *closedGate, o *redis.Options) {
			o.CredentialsProviderContext = func(context.Context) (string, string, error) { return "", "", g.Allow() }
		},
		"what greets a connection": func(g *closedGate, o *redis.Options) {
			o.OnConnect = func(context.Context, *redis.Conn) error { return g.Allow() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			g, o := &closedGate{}, server.Options()
			o.DialerRetries, o.DialTimeout = 1, 0
			if setUp != nil {
				setUp(g, o)
			}
			client := redis.NewClient(o)
			t.Cleanup(func() { client.Close() })
			if setUp == nil {
				client.AddHook(g)
			}
			c := node(t, client)
			for _, tenant := range []budget.TenantID{"acme", "globex"} {
				ensure(t, c, tenant, 1000)
			}
			executed := executions(t, server.Client())
			g.closed.Store(true)
			if err := server.Client().ClientKillByFilter(t.Context(), "type", "normal", "skipme", "yes").Err(); err != nil {
				t.Fatal(err)
			}
			unsentOperations(t, c, g)
			g.closed.Store(false)
			if n := executions(t, server.Client()) - executed; n != 0 {
				t.Errorf("%d batches were executed", n)
			}
			reserve(t, c, 1)
			audit(t, server.Client())
		})
	}
}

// unsentOperations starts operations on two tenants whose callers later give up.
func unsentOperations(t *testing.T, c *Coordinator, g *closedGate) {
	t.Helper()
	tenants := []budget.TenantID{"acme", "globex"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error, len(tenants))
	for _, tenant := range tenants {
		go func() {
			_, err := c.Grant(ctx, tenant, 1)
			answers <- err
		}()
	}
	// Callers leave while their calls are queued again: after this many attempts the
	// lanes back off for longer than the rest of this test takes.
	eventually(t, "the calls are back in their queues", func() bool {
		for _, tenant := range tenants {
			if queued, inFlight := c.node.LaneOf(tenant).Calls(); queued == 0 || inFlight > 0 {
				return false
			}
		}
		return g.refused.Load() >= 20
	})
	cancel()
	for range tenants {
		if err := <-answers; !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
			t.Errorf("a grant that was not sent: %v", err)
		}
	}
}

// A new connection is rejected for its password. go-redis then leaves the commands of a
// pipeline without an error.
func TestRefusedConnectionOfAPipeline(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithUser("bursar", "first", "~*", "&*", "+@all"))
	o := server.Options()
	o.Username, o.Password = "bursar", "first"
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	c := node(t, client)
	ensure(t, c, "acme", 1000)
	admin := server.Client()
	admin.Do(t.Context(), "acl", "setuser", "bursar", "resetpass", ">second")
	admin.ClientKillByFilter(t.Context(), "user", "bursar")
	answers := make(chan error, 40)
	for i := range cap(answers) {
		go func() {
			_, err := c.TryReserve(t.Context(), numbered("tenant", i), 1)
			answers <- err
		}()
	}
	for range cap(answers) {
		err := <-answers
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("%v, want an error that names WRONGPASS", err)
		}
	}
	admin.Do(t.Context(), "acl", "setuser", "bursar", "resetpass", ">first")
	reserve(t, c, 1)
}
