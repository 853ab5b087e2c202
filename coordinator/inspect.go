package coordinator

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/preflight"
	"github.com/calybris/bursar/coordinator/redisclient"
)

// The partitions of a prefix that is used first, by measurement: fewer of them group
// the calls of many tenants better, more of them spread over the masters of a Cluster.
const (
	DefaultPartitions        = 4
	DefaultClusterPartitions = 16
)

// Check is one thing that a node must know of the Redis that it stands on.
type Check = preflight.Check

// Status is how a check went.
type Status = preflight.Status

// The statuses. New refuses to start if a check failed, and logs the warnings.
const (
	CheckUnknown = preflight.CheckUnknown // the server does not say
	CheckOK      = preflight.CheckOK
	CheckWarning = preflight.CheckWarning
	CheckFailed  = preflight.CheckFailed
)

// Inspect makes every check of New, on each server that holds budgets, without
// starting a node, and changes nothing: reachable, version, role, topology,
// eviction, persistence, min-replicas, rights, clock, scripts, partitions. A server that
// is out of reach has the first one only, also if ctx ends before, and a Sentinel has
// no more than three. What passes by itself is asked again, as by New. The error is
// about the options.
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
