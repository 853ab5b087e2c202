package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The partitions of a prefix that is used first, by measurement: fewer of them group
// the calls of many tenants better, more of them spread over the masters of a Cluster.
const (
	DefaultPartitions        = 4
	DefaultClusterPartitions = 16
)

// adoptRecord returns how the partitions of the prefix lie: as it is recorded; or, if
// there is no record, as the partitions that exist lie, and then restores it; or as the
// options and the topology have it, and then the first EnsureTenant records it. The
// number of partitions never changes, so a node that was asked for another one adopts
// what is stored.
func adoptRecord(ctx context.Context, client redis.UniversalClient, cfg config) (store.Record, error) {
	key := store.RecordKey(cfg.prefix)
	text, err := client.Get(ctx, key).Result()
	if err == nil {
		return adopted(text, cfg)
	}
	if !errors.Is(err, redis.Nil) {
		return store.Record{}, recordError(ctx, key, err)
	}
	found, err := existingPartitions(ctx, client, cfg.prefix)
	if err != nil {
		return store.Record{}, recordError(ctx, key, err)
	}
	record := store.Record{Layout: luascripts.Layout, Partitions: cfg.partitions}
	switch {
	case len(found) > 1:
		return record, fmt.Errorf("%w: prefix %q has ledgers of %v partitions and no record: find out which are right, and set key %s", ErrCorrupt, cfg.prefix, found, key)
	case len(found) == 1:
		record.Partitions = found[0]
		if err := client.SetNX(ctx, key, record.String(), 0).Err(); err != nil {
			return record, recordError(ctx, key, err)
		}
		cfg.logger.Error("bursar: record of partitions restored", "prefix", cfg.prefix, "partitions", record.Partitions)
		return adopted(record.String(), cfg)
	case cfg.partitions == 0:
		record.Partitions = DefaultPartitions
		if isCluster(client) {
			record.Partitions = DefaultClusterPartitions
		}
	}
	return record, nil
}

func recordError(ctx context.Context, key string, err error) error {
	if ctx.Err() != nil {
		err = lane.Interrupted(ctx)
	}
	return fmt.Errorf("%w: reading key %s: %w", ErrUnavailable, key, err)
}

func adopted(text string, cfg config) (store.Record, error) {
	record, err := store.ParseRecord(text)
	if err != nil {
		return record, fmt.Errorf("%w: key %s: %w: use another prefix, or restore the key", ErrCorrupt, store.RecordKey(cfg.prefix), err)
	}
	if record.Layout != luascripts.Layout {
		return record, fmt.Errorf("%w: prefix %q is in layout %d, and this program reads %d: upgrade it, or use another prefix", ErrLayout, cfg.prefix, record.Layout, luascripts.Layout)
	}
	if cfg.partitions != 0 && cfg.partitions != record.Partitions {
		cfg.logger.Warn("bursar: number of partitions adopted", "prefix", cfg.prefix, "wanted", cfg.partitions, "stored", record.Partitions)
	}
	return record, nil
}

// existingPartitions returns the numbers of partitions of which a ledger exists.
func existingPartitions(ctx context.Context, client redis.UniversalClient, prefix string) ([]int, error) {
	var found []int
	for p := 1; p <= store.MaxPartitions; p *= 2 {
		pipe := client.Pipeline()
		headers := make([]*redis.StringCmd, p)
		for i := range headers {
			headers[i] = pipe.HGet(ctx, store.KeysOf(prefix, p, i).Ledger, store.HeaderField)
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		for _, header := range headers {
			if h, err := store.ParseHeader(header.Val()); header.Err() == nil && (err != nil || h.Partitions == p) {
				found = append(found, p)
				break
			}
		}
	}
	return found, nil
}

func isCluster(client redis.UniversalClient) bool {
	_, ok := client.(*redis.ClusterClient)
	return ok
}
