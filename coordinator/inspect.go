package coordinator

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/preflight"
	"github.com/calybris/bursar/coordinator/redisclient"
)

// The default numbers of partitions of a new prefix, found by measurement: fewer group
// the calls of many tenants better, more spread over the masters of a Cluster.
const (
	DefaultPartitions        = 4
	DefaultClusterPartitions = 16
)

// Check is the result of one check of the Redis that a node uses.
type Check = preflight.Check

// Status is the result of a check.
type Status = preflight.Status

// The statuses. New refuses to start if a check failed, and logs the warnings.
const (
	CheckUnknown = preflight.CheckUnknown // the server doesn't report it
	CheckOK      = preflight.CheckOK
	CheckWarning = preflight.CheckWarning
	CheckFailed  = preflight.CheckFailed
)

// Inspect makes every check of New, on each server that holds budgets, without starting a
// node, and changes nothing: reachable, version, role, topology, eviction, persistence,
// min-replicas, rights, clock, scripts, partitions. For a server that can't be reached
// before ctx ends it returns only the first check, and for a Sentinel at most three.
// Transient failures are retried, as by New. The error concerns the options only.
func Inspect(ctx context.Context, client redis.UniversalClient, opts ...Option) ([]Check, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	checks, _ := preflight.Inspect(ctx, client, cfg.preflight(client))
	return checks, nil
}

func (c *config) preflight(client redis.UniversalClient) preflight.Config {
	partitions := DefaultPartitions
	if redisclient.ClusterOf(client) != nil {
		partitions = DefaultClusterPartitions
	}
	return preflight.Config{Prefix: c.prefix, CallTimeout: c.callTimeout, Partitions: c.partitions, DefaultPartitions: partitions, Logger: c.logger}
}
