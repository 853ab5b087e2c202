package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
	tried := func(written bool, err error) error { return &attemptError{err, written} }
	reply := func(text string) error { return scriptless(text) }
	const raisedAt = " script: 0123456789012345678901234567890123456789, on @user_script:12."
	for _, c := range []struct {
		err  error
		want failure
	}{
		{io.EOF, failureLost},
		{tried(true, io.EOF), failureLost},
		{tried(false, io.EOF), failureUnsent},
		{errors.New("a limiter's"), failureLost},
		{tried(false, errors.New("a limiter's")), failureUnsent},
		{dial, failureUnsent},
		{tried(true, dial), failureLost}, // of a second try, as a hook may make one
		{redis.ErrPoolTimeout, failureUnsent},
		{redis.ErrPoolExhausted, failureUnsent},
		{tried(true, redis.ErrPoolTimeout), failureLost},
		{redis.ErrClosed, failureUnsent},
		{reply("upstream failure"), failureUnknown},
		{reply("ERR upstream failure"), failureUnknown},
		{reply("ERR"), failureUnknown},
		{reply(""), failureUnknown},
		{reply("LOADINGS"), failureUnknown},
		{reply("OOMS of it"), failureUnknown},
		{reply("redis: nil"), failureUnknown},
		{unreadableReply("WHAT"), failureUnknown},
		{tried(true, reply("upstream failure")), failureUnknown},
		{tried(false, reply("ERR AUTH called without any password configured")), failureRefused},
		{tried(false, reply("ERR max number of clients reached")), failureTransient},
		{reply("LOADING Redis is loading the dataset in memory"), failureTransient},
		{reply("MOVED 1 127.0.0.1:7000"), failureTransient},
		{fmt.Errorf("a hook's: %w", reply("BUSY Redis is busy")), failureTransient},
		{reply("NOSCRIPT No matching script."), failureNoScript},
		{reply("OOM command not allowed"), failureMemory},
		{reply("NOPERM User x has no permissions"), failureRefused},
		{reply("NOAUTH Authentication required."), failureRefused},
		{reply("WRONGPASS invalid username-password pair"), failureRefused},
		{reply("WRONGTYPE Operation against a key"), failureRefused},
		{reply("ERR unknown command 'evalsha', with args beginning with: "), failureRefused},
		{reply("ERR ACL failure in script: User x has no permissions" + raisedAt), failureRefused},
		{reply("ERR BURSAR malformed amount: x" + raisedAt), failureRefused},
		{reply("READONLY You can't write against a read only replica." + raisedAt), failureTransient},
		{scriptError("ERR attempt to index a nil value"), failureRefused},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v (%T): %s, want %s", c.err, c.err, failureNames[got], failureNames[c.want])
		}
	}
}

// scriptless is an error reply that no script raised.
type scriptless string

func (e scriptless) Error() string { return string(e) }
func (scriptless) RedisError()     {}

// closedGate refuses while it is closed, as a limiter and as a hook.
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

// What fails before a byte is written is as sure as a pool timeout: the caller hears that
// nothing was sent, whatever the error.
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

// unsentOperations asks for operations of two families, which give up after some tries.
func unsentOperations(t *testing.T, c *Coordinator, g *closedGate) {
	t.Helper()
	lanes := []*lane{c.lane("acme"), c.lane("globex")}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error, len(lanes))
	for _, l := range lanes {
		go func() {
			_, err := c.Grant(ctx, l.root, 1)
			answers <- err
		}()
	}
	// Callers leave while their calls wait in the queue again: the lanes are locked, so
	// that nothing takes the calls from there meanwhile.
	eventually(t, "the calls are back in their queues", func() bool {
		for _, l := range lanes {
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.queue) == 0 || g.refused.Load() < 4 {
				return false
			}
		}
		cancel()
		for range lanes {
			if err := <-answers; !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
				t.Errorf("a grant that was not sent: %v", err)
			}
		}
		return true
	})
}

// A new connection is refused for its password. go-redis leaves the commands of a
// pipeline without an error then.
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

// A repair whose reply was lost, and which is then refused, goes on: it has no callers
// that could be told, and nothing else may be sent before it.
func TestRefusedRepairGoesOn(t *testing.T) {
	t.Parallel()
	for _, refusal := range []error{noPermission, scriptless("upstream failure")} {
		c, l := loneLane(t)
		c.config.repairWindow, c.config.repairBytes = DefaultRepair, DefaultRepairBytes
		c.lossFound = func() {}
		ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
		l.next()
		number := l.pending.number
		l.handle(fmt.Sprintf("APPLIED R %d 90", c.config.now().UnixMilli()), nil)
		ask(t, c, l, luascripts.KindRemaining, 0, budget.ReservationID{})
		l.next()
		l.handle(fmt.Sprintf("GAP %d 0 5 ", number-1), nil)
		if kinds := kindsOf(t, l); kinds != "m" {
			t.Fatalf("sends %q, want a repair", kinds)
		}
		l.handle(nil, io.ErrUnexpectedEOF)
		for range 3 * maxRefusals {
			if kinds := kindsOf(t, l); kinds != "m" {
				t.Fatalf("sends %q, want the repair again", kinds)
			}
			l.handle(nil, refusal)
		}
	}
}
