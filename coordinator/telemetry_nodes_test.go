package coordinator

import (
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Two nodes of one program observe the same tenant, through one MeterProvider: none of
// their gauges overwrites the other's, whichever attribute sets them apart.
func TestNodesOfOneProcessHaveSeparateSeries(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		nodes func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option)
		same  bool // they share the budgets
	}{
		{"two servers", func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
			return [2]redis.UniversalClient{redistest.Start(t).Client(), redistest.Start(t).Client()}, opts
		}, false},
		{"two prefixes", func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
			server := redistest.Start(t)
			opts[1] = []Option{WithKeyPrefix("staging")}
			return [2]redis.UniversalClient{server.Client(), server.Client()}, opts
		}, false},
		{"two databases", func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
			server := redistest.Start(t)
			second := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: 1})
			t.Cleanup(func() { _ = second.Close() })
			return [2]redis.UniversalClient{server.Client(), second}, opts
		}, false},
		{"two Clusters", func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
			return [2]redis.UniversalClient{redistest.StartCluster(t).Client(), redistest.StartCluster(t).Client()}, opts
		}, false},
		{"two primaries of Sentinels", twoPrimaries, false},
		{"two primaries of Sentinels with names", func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
			clients, _ = twoPrimaries(t)
			return clients, [2][]Option{{WithServerName("eu")}, {WithServerName("us")}}
		}, false},
		{"one server", func(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
			server := redistest.Start(t)
			return [2]redis.UniversalClient{server.Client(), server.Client()}, opts
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reader := sdkmetric.NewManualReader()
			meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
			clients, opts := test.nodes(t)
			var nodes []*Coordinator
			for i, client := range clients {
				c := node(t, client, append(opts[i], WithMeterProvider(meters), WithObservedTenants("acme"))...)
				if i == 0 || !test.same {
					ensure(t, c, "acme", 1000)
				}
				for range i + 1 {
					reserve(t, c, 10)
				}
				nodes = append(nodes, c)
			}
			for range 7 { // as if 7 calls were queued
				nodes[1].node.AdmitSettlement()
				defer nodes[1].node.Done()
			}
			got, _ := read(t, reader)
			for name, want := range map[string][2]int64{
				"bursar.tenant.granted": {1000, 1000}, "bursar.tenant.remaining": {990, 980}, "bursar.tenant.reserved": {10, 20},
				"bursar.tenant.committed": {0, 0}, "bursar.tenant.holds": {1, 2}, "bursar.queue.length": {0, 7}, "bursar.breaker.state": {0, 0},
			} {
				points := got[name]
				if len(points) != 2 {
					t.Errorf("%s has %d points, and there are 2 nodes: %v", name, len(points), points)
				}
				for i, c := range nodes {
					if test.same && name != "bursar.queue.length" {
						continue
					}
					found := false
					for _, p := range points {
						prefix, _ := p.attributes.Value("bursar.key.prefix")
						found = found || p.value == want[i] && prefix.AsString() == c.config.prefix
					}
					if !found {
						t.Errorf("%s of node %d is not %d: %v", name, i, want[i], points)
					}
				}
			}
		})
	}
}

func twoPrimaries(t *testing.T) (clients [2]redis.UniversalClient, opts [2][]Option) {
	for i := range clients {
		client := redis.NewFailoverClient(redistest.StartSentinels(t, redistest.Start(t), 1).Options())
		t.Cleanup(func() { _ = client.Close() })
		clients[i] = client
	}
	return clients, opts
}

// A node that has ended gives up its identity, so that a new one continues its series.
func TestNewNodeContinuesTheSeries(t *testing.T) {
	t.Parallel()
	server, reader := redistest.Start(t), sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	observed := func() attribute.Set {
		got, _ := read(t, reader)
		for _, p := range got["bursar.queue.length"] {
			return p.attributes
		}
		t.Fatal("no node has a series")
		return attribute.Set{}
	}
	var before attribute.Set
	for i := range 3 {
		c, err := New(t.Context(), server.Client(), quiet(), WithMeterProvider(meters))
		if err != nil {
			t.Fatal(err)
		}
		if now := observed(); i > 0 && !now.Equals(&before) {
			t.Errorf("node %d's series has the attributes %v, the previous node's %v", i, now.ToSlice(), before.ToSlice())
		} else {
			before = now
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNodeAttributes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	port, err := strconv.Atoi(strings.TrimPrefix(server.Addr(), "127.0.0.1:"))
	if err != nil {
		t.Fatal(err)
	}
	database, prefix := attribute.String("db.namespace", "0"), attribute.String("bursar.key.prefix", "p")
	for name, want := range map[string]attribute.Set{
		"":   attribute.NewSet(attribute.String("server.address", "127.0.0.1"), attribute.Int("server.port", port), database, prefix),
		"eu": attribute.NewSet(attribute.String("server.address", "eu"), database, prefix),
	} {
		c, reader, _ := telemetered(t, server, WithServerName(name), WithKeyPrefix("p"))
		ensure(t, c, budget.TenantID("acme"+name), 1) // makes the node use the breaker's server
		got, _ := read(t, reader)
		for _, instrument := range []string{"bursar.queue.length", "bursar.breaker.state"} {
			if _, is := got[instrument][want.Equivalent()]; !is || len(got[instrument]) != 1 {
				t.Errorf("%s with the name %q: %v, want the attributes %v", instrument, name, got[instrument], want.ToSlice())
			}
		}
	}
}
