package redistest

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// SentinelName is the name of the primary in the Sentinels' configuration.
const SentinelName = "bursar"

// Sentinels is a group of Sentinel processes that monitor one primary.
type Sentinels struct {
	nodes   []*Server
	primary *Server
}

// SpawnSentinels starts count Sentinels (1 or more; the quorum is the majority) that
// monitor a primary and its replicas, and returns once each Sentinel knows the primary, the
// replicas and the other Sentinels. They consider a primary down after one second without
// a reply. Close ends the Sentinels, not the servers that they monitor.
func SpawnSentinels(ctx context.Context, primary *Server, count int, opts ...Option) (*Sentinels, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if count < 1 {
		return nil, fmt.Errorf("redistest: %d Sentinels; give 1 or more", count)
	}
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	nodes, err := spawnAll(ctx, count, set, sentinelRole(primary, count/2+1))
	g := &Sentinels{nodes: nodes, primary: primary}
	if err == nil {
		err = g.awaitDiscovery(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func sentinelRole(primary *Server, quorum int) role {
	config := []string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", SentinelName, primary.port, quorum),
		fmt.Sprintf("sentinel down-after-milliseconds %s 1000", SentinelName),
		fmt.Sprintf("sentinel failover-timeout %s 5000", SentinelName),
	}
	if primary.settings.password != "" {
		config = append(config, fmt.Sprintf("sentinel auth-pass %s %s", SentinelName, primary.settings.password))
	}
	return role{name: "sentinel", args: []string{"--sentinel"}, config: config}
}

// awaitDiscovery waits until every Sentinel knows the replicas and the other Sentinels.
// Before that, a failover could lack a majority or a replica to promote.
func (g *Sentinels) awaitDiscovery(ctx context.Context) error {
	admin := g.primary.admin()
	defer admin.Close()
	replicas, err := admin.Do(ctx, "ROLE").Slice()
	if err != nil {
		return fmt.Errorf("redistest: the role of the Sentinels' primary: %w", err)
	}
	connected, ok := replicas[len(replicas)-1].([]any)
	if !ok {
		return fmt.Errorf("redistest: the server at %s isn't a primary", g.primary.Addr())
	}
	line := fmt.Sprintf("master0:name=%s,status=ok,address=%s,slaves=%d,sentinels=%d",
		SentinelName, g.primary.Addr(), len(connected), len(g.nodes))
	return forEach(g.nodes, func(client *redis.Client) error {
		return await(ctx, "the Sentinels to know each other", func() error {
			return expectInfo(ctx, client, "sentinel", line)
		})
	})
}

// AwaitPrimary waits until every Sentinel reports server as the primary, for example after
// a failover.
func (g *Sentinels) AwaitPrimary(ctx context.Context, server *Server) error {
	return forEach(g.nodes, func(client *redis.Client) error {
		return await(ctx, "the Sentinels to name "+server.Addr(), func() error {
			return expectPrimary(ctx, client, server)
		})
	})
}

func expectPrimary(ctx context.Context, sentinel *redis.Client, server *Server) error {
	named, err := sentinel.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelName).StringSlice()
	if err != nil {
		return err
	}
	if len(named) != 2 || loopbackText(named[1]) != server.Addr() {
		return fmt.Errorf("it names %v", named)
	}
	return nil
}

// Addrs returns the addresses of the Sentinels.
func (g *Sentinels) Addrs() []string { return addrs(g.nodes) }

// Options returns the options for a client that follows the primary.
func (g *Sentinels) Options() *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: SentinelName, SentinelAddrs: g.Addrs(), Password: g.primary.settings.password,
	}
}

// Client returns a new client that follows the primary. Close closes it, unless the caller
// has.
func (g *Sentinels) Client() *redis.Client {
	client := redis.NewFailoverClient(g.Options())
	g.nodes[0].closeLater(client)
	return client
}

// Close ends the Sentinels.
func (g *Sentinels) Close() error { return closeAll(g.nodes) }
