package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

const slotCount = 16384

// Cluster is a Redis Cluster whose masters share the slots evenly, in order.
type Cluster struct {
	masters  []*Server
	replicas []*Server
	ids      map[*Server]string // node IDs, from CLUSTER MYID
}

// SpawnCluster starts a Cluster of masters and replicas ([WithMasters], [WithReplicas];
// three and none by default) and returns once every node reports cluster_state:ok, which
// takes at least two seconds.
//
// cluster-node-timeout is 5000 ms, so that a busy machine causes no failover.
// WithConfig("cluster-node-timeout 1000") makes failovers faster.
func SpawnCluster(ctx context.Context, opts ...Option) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	nodes, err := spawnAll(ctx, set.masters*(1+set.replicas), set, role{
		name: "cluster node", needsBus: true,
		config: []string{"cluster-enabled yes", "cluster-node-timeout 5000"},
	})
	if err != nil {
		return nil, errors.Join(err, closeAll(nodes))
	}
	c := &Cluster{masters: nodes[:set.masters], replicas: nodes[set.masters:], ids: map[*Server]string{}}
	if err := c.form(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// form joins the new nodes to a Cluster.
func (c *Cluster) form(ctx context.Context) error {
	for i, s := range c.nodes() {
		if err := c.prepare(ctx, i, s); err != nil {
			return s.explain("prepare", err)
		}
	}
	if err := c.meetAll(ctx); err != nil {
		return err
	}
	if err := c.attachReplicas(ctx); err != nil {
		return err
	}
	return c.AwaitReady(ctx)
}

func (c *Cluster) nodes() []*Server {
	return append(c.masters[:len(c.masters):len(c.masters)], c.replicas...)
}

// running returns a running node, or the first master if none runs.
func (c *Cluster) running() *Server {
	for _, s := range c.nodes() {
		if s.current().running() {
			return s
		}
	}
	return c.masters[0]
}

// prepare sets the config epoch of node i, which must be unique, and assigns its slots to
// a master.
func (c *Cluster) prepare(ctx context.Context, i int, s *Server) error {
	client := s.admin()
	defer client.Close()
	id, err := client.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		return err
	}
	c.ids[s] = id
	if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
		return err
	}
	masters := len(c.masters)
	if i >= masters {
		return nil
	}
	return client.ClusterAddSlotsRange(ctx, i*slotCount/masters, (i+1)*slotCount/masters-1).Err()
}

// meetAll makes every node meet all later ones, because waiting for gossip to spread
// would take seconds.
func (c *Cluster) meetAll(ctx context.Context) error {
	nodes := c.nodes()
	for i, s := range nodes {
		client := s.admin()
		for _, other := range nodes[i+1:] {
			if err := client.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", other.port, other.busPort).Err(); err != nil {
				return errors.Join(s.explain("introduce", err), client.Close())
			}
		}
		if err := client.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) attachReplicas(ctx context.Context) error {
	for i, s := range c.replicas {
		client := s.admin()
		// The node refuses until it knows its master from gossip.
		err := await(ctx, "a replica to know its master", func() error {
			return client.ClusterReplicate(ctx, c.ids[c.masters[i%len(c.masters)]]).Err()
		})
		if err = errors.Join(err, client.Close()); err != nil {
			return err
		}
	}
	return nil
}

// AwaitReady waits until every node knows all other nodes and the owners of all slots and
// reports cluster_state:ok, and every replica is connected to its master. Call it after
// the Restart of a node. All nodes must be running.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	known := fmt.Sprintf("cluster_known_nodes:%d", len(c.nodes()))
	err := forEach(c.nodes(), func(client *redis.Client) error {
		return await(ctx, "cluster_state:ok", func() error {
			return expectClusterInfo(ctx, client, "cluster_state:ok", "cluster_slots_ok:16384", known)
		})
	})
	if err != nil {
		return err
	}
	for _, s := range c.replicas {
		if err := s.awaitClusterLink(ctx); err != nil {
			return err
		}
	}
	return nil
}

func expectClusterInfo(ctx context.Context, client *redis.Client, lines ...string) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, line := range lines {
		if !strings.Contains(info, line+"\r\n") {
			return fmt.Errorf("CLUSTER INFO has no %s", line)
		}
	}
	return nil
}

// awaitClusterLink waits until the replica is connected to its master, unless a failover
// has made it a master.
func (s *Server) awaitClusterLink(ctx context.Context) error {
	client := s.admin()
	defer client.Close()
	return await(ctx, "the replica's link", func() error {
		if expectInfo(ctx, client, "replication", "role:master") == nil {
			return nil
		}
		return expectInfo(ctx, client, "replication", "master_link_status:up")
	})
}

// Masters returns the nodes that were started as masters, in the order of their slots. A
// failover doesn't change the list; use Owner to find the current master of a slot.
func (c *Cluster) Masters() []*Server { return c.masters }

// Replicas returns the nodes that were started as replicas: replica i replicates master i
// modulo the number of masters.
func (c *Cluster) Replicas() []*Server { return c.replicas }

// Addrs returns the addresses of all nodes, masters first.
func (c *Cluster) Addrs() []string { return addrs(c.nodes()) }

// Options returns the options for a client of the Cluster, which the caller may change.
func (c *Cluster) Options() *redis.ClusterOptions {
	return &redis.ClusterOptions{Addrs: c.Addrs(), Password: c.masters[0].settings.password}
}

// Client returns a new client of the Cluster. Close closes it, unless the caller has.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(c.Options())
	c.masters[0].closeLater(client)
	return client
}

// Close kills all nodes, closes the clients and removes the folders.
func (c *Cluster) Close() error { return closeAll(c.nodes()) }
