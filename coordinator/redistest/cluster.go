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
	ids      map[*Server]string // as CLUSTER MYID says
}

// SpawnCluster starts a Cluster of masters and replicas (WithMasters,
// WithReplicas; default three and none) and returns when every node says
// cluster_state:ok, which takes Redis two seconds at the least.
//
// cluster-node-timeout is 5000 ms, so that a busy machine causes no failover;
// WithConfig("cluster-node-timeout 1000") makes one faster.
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

// form makes one Cluster of nodes that do not know each other.
func (c *Cluster) form(ctx context.Context) error {
	for i, s := range c.nodes() {
		if err := c.prepare(ctx, i, s); err != nil {
			return s.explain("prepare", err)
		}
	}
	if err := c.introduce(ctx); err != nil {
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

// running is a node that can be asked.
func (c *Cluster) running() *Server {
	for _, s := range c.nodes() {
		if s.current().running() {
			return s
		}
	}
	return c.masters[0]
}

// prepare gives a node its epoch, which no two may share, and a master its slots.
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

// introduce makes every node meet all that come after it: waiting for gossip to
// spread the acquaintance would take seconds.
func (c *Cluster) introduce(ctx context.Context) error {
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
		// The node refuses until it has heard of its master.
		err := await(ctx, "a replica to know its master", func() error {
			return client.ClusterReplicate(ctx, c.ids[c.masters[i%len(c.masters)]]).Err()
		})
		if err = errors.Join(err, client.Close()); err != nil {
			return err
		}
	}
	return nil
}

// AwaitReady waits until every node knows all others and the owners of all
// slots, says cluster_state:ok, and every replica is in step. Call it after a
// Restart of a node. Nodes must be running.
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

// awaitClusterLink leaves out a replica that a failover has made a master.
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

// Masters are the nodes that were started as masters, in the order of their
// slots. A failover does not change the list; Owner asks the Cluster.
func (c *Cluster) Masters() []*Server { return c.masters }

// Replicas are the nodes that were started as replicas: the i-th replicates
// master i modulo the number of masters.
func (c *Cluster) Replicas() []*Server { return c.replicas }

// Addrs are the addresses of all nodes, masters first.
func (c *Cluster) Addrs() []string { return addrs(c.nodes()) }

// Options returns what a client of this Cluster needs, for the caller to change.
func (c *Cluster) Options() *redis.ClusterOptions {
	return &redis.ClusterOptions{Addrs: c.Addrs(), Password: c.masters[0].settings.password}
}

// Client returns a new client of the Cluster. Close closes it; so may the caller.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(c.Options())
	c.masters[0].closeLater(client)
	return client
}

// Close ends all nodes, closes the clients and removes the folders.
func (c *Cluster) Close() error { return closeAll(c.nodes()) }
