package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Migration is the migration of a slot from one master to another. Until Finish or Cancel,
// the source replies ASK to a command whose keys it no longer has, and TRYAGAIN if only
// some of the command's keys have moved.
type Migration struct {
	cluster  *Cluster
	slot     int
	from, to *Server
	src, dst *redis.Client
}

const (
	moveTimeout = 5 * time.Second
	keysAtOnce  = 100
)

// Slot returns the slot of a key.
func (c *Cluster) Slot(ctx context.Context, key string) (int, error) {
	client := c.running().admin()
	defer client.Close()
	slot, err := client.ClusterKeySlot(ctx, key).Result()
	return int(slot), err
}

// Owner returns the node that serves the slot now.
func (c *Cluster) Owner(ctx context.Context, slot int) (*Server, error) {
	client := c.running().admin()
	defer client.Close()
	owner, err := ownerID(ctx, client, slot)
	if err != nil {
		return nil, err
	}
	for s, id := range c.ids {
		if id == owner {
			return s, nil
		}
	}
	return nil, fmt.Errorf("redistest: slot %d belongs to %s, which isn't a node of this Cluster", slot, owner)
}

// ownerID returns the ID of the slot's owner as one node sees it.
func ownerID(ctx context.Context, client *redis.Client, slot int) (string, error) {
	//nolint:staticcheck // CLUSTER SHARDS, its successor, lists a dead master as well as the one that took over
	ranges, err := client.ClusterSlots(ctx).Result()
	if err != nil {
		return "", fmt.Errorf("redistest: the owner of slot %d: %w", slot, err)
	}
	for _, r := range ranges {
		if r.Start <= slot && slot <= r.End {
			return r.Nodes[0].ID, nil
		}
	}
	return "", fmt.Errorf("redistest: slot %d has no owner; slots are 0 to %d", slot, slotCount-1)
}

// MigrateSlot moves a slot and its keys to another master, as resharding does, and returns
// once every node knows the new owner.
func (c *Cluster) MigrateSlot(ctx context.Context, slot int, to *Server) error {
	m, err := c.BeginMigration(ctx, slot, to)
	if err != nil {
		return err
	}
	return m.Finish(ctx)
}

// BeginMigration marks the slot as importing and migrating, without moving any keys. The
// caller must end the migration with Finish or Cancel.
func (c *Cluster) BeginMigration(ctx context.Context, slot int, to *Server) (*Migration, error) {
	from, err := c.Owner(ctx, slot)
	if err != nil {
		return nil, err
	}
	if from == to || !slices.Contains(c.nodes(), to) {
		return nil, fmt.Errorf("redistest: slot %d cannot move from %s to %s: the target must be another master of the same Cluster", slot, from.Addr(), to.Addr())
	}
	m := &Migration{cluster: c, slot: slot, from: from, to: to, src: from.admin(), dst: to.admin()}
	// The target comes first: the source must never redirect a client to a node that
	// doesn't import the slot.
	err = m.dst.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from]).Err()
	if err == nil {
		err = m.src.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to]).Err()
	}
	if err != nil {
		return nil, errors.Join(m.explain("begin", err), m.closeClients())
	}
	return m, nil
}

// Keys returns at most limit keys of the slot that have not moved.
func (m *Migration) Keys(ctx context.Context, limit int) ([]string, error) {
	keys, err := m.src.ClusterGetKeysInSlot(ctx, m.slot, limit).Result()
	return keys, m.explain("list keys of", err)
}

// Move moves the given keys, and skips keys that the source doesn't have. The migration
// goes on.
func (m *Migration) Move(ctx context.Context, keys ...string) error {
	args := []any{"MIGRATE", "127.0.0.1", m.to.port, "", 0, moveTimeout.Milliseconds()}
	if password := m.to.settings.password; password != "" {
		args = append(args, "AUTH", password)
	}
	args = append(args, "KEYS")
	for _, key := range keys {
		args = append(args, key)
	}
	return m.explain("move keys of", m.src.Do(ctx, args...).Err())
}

// Finish moves the remaining keys, makes the target the owner of the slot, and returns once
// every node knows the new owner.
func (m *Migration) Finish(ctx context.Context) error {
	err := m.finish(ctx)
	return errors.Join(err, m.closeClients())
}

func (m *Migration) finish(ctx context.Context) error {
	for {
		keys, err := m.Keys(ctx, keysAtOnce)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		if err := m.Move(ctx, keys...); err != nil {
			return err
		}
	}
	// The new owner comes first, so that the slot has an owner at every moment. It
	// announces itself to the other nodes.
	if err := m.assign(ctx, m.dst); err != nil {
		return err
	}
	if err := m.assign(ctx, m.src); err != nil {
		return err
	}
	return forEach(m.cluster.nodes(), func(client *redis.Client) error {
		return await(ctx, "the slot's new owner", func() error { return m.expectOwner(ctx, client) })
	})
}

func (m *Migration) assign(ctx context.Context, client *redis.Client) error {
	return m.explain("assign", client.Do(ctx, "CLUSTER", "SETSLOT", m.slot, "NODE", m.cluster.ids[m.to]).Err())
}

func (m *Migration) expectOwner(ctx context.Context, client *redis.Client) error {
	owner, err := ownerID(ctx, client, m.slot)
	if err == nil && owner != m.cluster.ids[m.to] {
		err = fmt.Errorf("it names %s", owner)
	}
	return err
}

// Cancel ends the migration and leaves the slot with the source. Keys that have moved are
// then unreachable for clients until the slot moves too, so call Cancel before any Move.
func (m *Migration) Cancel(ctx context.Context) error {
	err := m.src.Do(ctx, "CLUSTER", "SETSLOT", m.slot, "STABLE").Err()
	err = errors.Join(err, m.dst.Do(ctx, "CLUSTER", "SETSLOT", m.slot, "STABLE").Err())
	return errors.Join(m.explain("cancel", err), m.closeClients())
}

func (m *Migration) closeClients() error { return errors.Join(m.src.Close(), m.dst.Close()) }

func (m *Migration) explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redistest: %s slot %d from %s to %s: %w", verb, m.slot, m.from.Addr(), m.to.Addr(), err)
}
