package fleet

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// NewCoordinator is a node of a fleet, whose callers may all ask for the same tenant at
// once. An error has an exit code.
func NewCoordinator(ctx context.Context, client redis.UniversalClient, c Config, prefix string, logger *slog.Logger) (*coordinator.Coordinator, error) {
	queue := c.Concurrency + eachWidth
	options := []coordinator.Option{
		coordinator.WithKeyPrefix(prefix), coordinator.WithLogger(logger), coordinator.WithQueueLimits(queue, queue),
		coordinator.WithHoldTTL(c.HoldTTL), coordinator.WithMaxHolds(c.MaxHolds),
	}
	if c.Partitions != 0 {
		options = append(options, coordinator.WithPartitions(c.Partitions))
	}
	node, err := coordinator.New(ctx, client, options...)
	return node, exit.OfStart(err)
}
