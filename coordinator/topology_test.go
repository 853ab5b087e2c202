package coordinator

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	audits "github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/redistest"
)

type (
	aroundCluster   struct{ *redis.ClusterClient }
	aroundClient    struct{ *redis.Client }
	aroundRing      struct{ *redis.Ring }
	aroundUniversal struct{ redis.UniversalClient }
)

// A struct that embeds a client works like the client itself.
func TestWrappersOfAClusterClient(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for name, wrap := range map[string]func(*redis.ClusterClient) redis.UniversalClient{
		"embedded":                 func(c *redis.ClusterClient) redis.UniversalClient { return &aroundCluster{c} },
		"embedded as an interface": func(c *redis.ClusterClient) redis.UniversalClient { return aroundUniversal{c} },
		"embedded twice":           func(c *redis.ClusterClient) redis.UniversalClient { return &aroundUniversal{aroundCluster{c}} },
	} {
		t.Run(name, func(t *testing.T) {
			prefix := strings.ReplaceAll(name, " ", "-")
			client := wrap(cluster.Client())
			checks, err := Inspect(t.Context(), client, WithKeyPrefix(prefix))
			if err != nil || len(checks) != 3*len(checkNames) {
				t.Fatalf("%d checks, %v", len(checks), err)
			}
			c := node(t, client, WithKeyPrefix(prefix))
			const tenants = 48
			for i := range tenants {
				ensure(t, c, numbered("tenant", i), 1000)
			}
			if err := c.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			if servers := serversOf(c); len(servers) != 3 {
				t.Errorf("the servers %v are known, want 3", servers)
			}
			all, err := audits.Read(t.Context(), client, prefix)
			if err != nil || len(all) != tenants {
				t.Errorf("tenants %v, %v", all, err)
			}
		})
	}
}

// serversOf returns the addresses of the servers that a node has used.
func serversOf(c *Coordinator) (addresses []string) {
	c.dispatcher.Breakers(func(address string, _ dispatch.BreakerState) { addresses = append(addresses, address) })
	return addresses
}

func TestWrappersOfOtherClients(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, client := range map[string]redis.UniversalClient{
		"single": aroundClient{server.Client()}, "single as an interface": &aroundUniversal{server.Client()},
	} {
		c := node(t, client)
		if _, err := c.EnsureTenant(t.Context(), "acme", 10); err != nil || !slices.Equal(serversOf(c), []string{server.Addr()}) {
			t.Errorf("%s: %v, servers %q", name, err, serversOf(c))
		}
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": server.Addr()}})
	t.Cleanup(func() { ring.Close() })
	refusedStart(t, aroundRing{ring}, ErrUnfit, "Ring")
	refusedStart(t, &aroundUniversal{ring}, ErrUnfit, "Ring")
	for _, client := range []redis.UniversalClient{aroundCluster{}, &aroundClient{}, aroundUniversal{}, &aroundUniversal{aroundRing{}}} {
		refusedStart(t, client, ErrUnfit, "the client is nil")
	}
}

// A client that cannot follow redirections is rejected if INFO shows a Cluster; otherwise
// every call fails with the remedy, at once and not at its deadline.
func TestClusterNeedsAClusterClient(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithUser("blind", "secret", "~*", "+@all", "-info"))
	plain := cluster.Masters()[0].Client()
	refusedStart(t, plain, ErrUnfit, "part of a Cluster", "redis.NewClusterClient", "redis+cluster://")
	o := cluster.Masters()[0].Options()
	o.Username, o.Password = "blind", "secret"
	blind := redis.NewClient(o)
	t.Cleanup(func() { blind.Close() })
	refusedStart(t, blind, ErrUnfit, "part of a Cluster", "redis.NewClusterClient") // found when it looks for partitions
	ensure(t, node(t, cluster.Client()), "acme", 10)
	refusedStart(t, blind, ErrUnfit, "part of a Cluster", "redis.NewClusterClient")

	client, moved := redistest.Start(t).Client(), &passingHook{reply: "MOVED 5649 127.0.0.1:1"}
	client.AddHook(moved)
	c := node(t, client)
	ensure(t, c, "acme", 10)
	moved.left.Store(1 << 40) // as if its slots had moved
	defer moved.left.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err1 := c.EnsureTenant(ctx, "acme", 10)
	_, err2 := c.TryReserve(ctx, "acme", 1)
	_, err3 := c.Holds(ctx, "acme")
	for what, err := range map[string]error{"EnsureTenant": err1, "TryReserve": err2, "Holds": err3} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), "redis.NewClusterClient") || ctx.Err() != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A server is identified by its INFO, whichever fork wrote it.
func TestStartRecognisesForks(t *testing.T) {
	t.Parallel()
	const valkey8 = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nserver_mode:"
	faking := func(mode string) *redis.Client {
		client := redistest.Start(t).Client()
		client.AddHook(fakeReply{"info server", valkey8 + mode + "\r\n"})
		return client
	}
	if check := found(t, faking("standalone"), "version", CheckOK); check.Found != "Valkey 8.0.1" {
		t.Errorf("%+v", check)
	}
	found(t, faking("standalone"), "topology", CheckOK)
	refusedStart(t, faking("cluster"), ErrUnfit, "part of a Cluster", "redis.NewClusterClient")
	refusedStart(t, faking("sentinel"), ErrUnfit, "the server is a Sentinel", "NewFailoverClient")
}

// A client of Sentinels that leads to no master is reported as that.
func TestSentinelsWithoutTheMaster(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 3)
	named := func(name string) *redis.FailoverOptions {
		o := sentinels.Options()
		o.MasterName, o.DialerRetries = name, 1
		return o
	}
	for name, client := range map[string]redis.UniversalClient{
		"a wrong name": redis.NewFailoverClient(named("nobody")), "no name": redis.NewFailoverClient(named("")),
		"a wrong name, for a Cluster's client": redis.NewFailoverClusterClient(named("nobody")),
	} {
		t.Cleanup(func() { client.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := New(ctx, client, quiet(), WithCallTimeout(200*time.Millisecond))
		cancel()
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnfit) || errors.Is(err, redis.Nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, word := range []string{"the Sentinels watch no master", "MasterName"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v; want %q", name, err, word)
			}
		}
	}
	for name, client := range map[string]redis.UniversalClient{
		"a Cluster's client": redis.NewUniversalClient(&redis.UniversalOptions{Addrs: sentinels.Addrs()}),
		"with a password":    redis.NewUniversalClient(&redis.UniversalOptions{Addrs: sentinels.Addrs(), Password: "secret"}),
		"one of them":        redis.NewUniversalClient(&redis.UniversalOptions{Addrs: sentinels.Addrs()[:1]}),
		"one, and a password": redis.NewUniversalClient(&redis.UniversalOptions{
			Addrs: sentinels.Addrs()[:1], Password: "secret",
		}),
	} {
		t.Cleanup(func() { client.Close() })
		_, err := New(t.Context(), client, quiet())
		if !errors.Is(err, ErrUnfit) || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "Sentinel") || !strings.Contains(err.Error(), "NewFailoverClient") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sentinels may find the master only while a node starts.
func TestSentinelsThatDoNotKnowTheMasterYet(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	sentinels := redistest.StartSentinels(t, primary, 1)
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: sentinels.Addrs()[0]})
	t.Cleanup(func() { sentinel.Close() })
	o := sentinels.Options()
	o.MasterName, o.DialerRetries = "later", 1
	dials := make(chan struct{}, 100)
	client := redis.NewFailoverClient(o)
	t.Cleanup(func() { client.Close() })
	client.AddHook(dialNotice{dials})
	started := make(chan *Coordinator, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, err := New(ctx, client, quiet())
		if err != nil {
			t.Error(err)
		}
		started <- c
	}()
	<-dials
	<-dials // the first has failed
	host, port, _ := strings.Cut(primary.Addr(), ":")
	if err := sentinel.Monitor(t.Context(), "later", host, port, "1").Err(); err != nil {
		t.Error(err)
	}
	c := <-started
	if c == nil {
		return
	}
	ensure(t, c, "acme", 10)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// dialNotice sends on a channel at each dial.
type dialNotice struct{ dials chan struct{} }

func (d dialNotice) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		select {
		case d.dials <- struct{}{}:
		default:
		}
		return next(ctx, network, address)
	}
}

func (dialNotice) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialNotice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
