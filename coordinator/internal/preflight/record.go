package preflight

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/luascripts"
)

// Adopt returns the number of partitions of the prefix: the recorded one; without a
// record, that of the existing partitions, whose record it restores; without partitions,
// that of the options and the topology, which the first EnsureTenant records. The number
// never changes, so a node with another one adopts the stored number.
func Adopt(ctx context.Context, client redis.UniversalClient, cfg Config) (store.Record, error) {
	record, err := adopt(ctx, client, cfg, newAsker(cfg.CallTimeout))
	switch {
	case err == nil, errors.Is(err, lane.ErrCorrupt), errors.Is(err, lane.ErrLayout):
		return record, err
	case redisclient.ClusterOf(client) == nil && dispatch.HasPrefix(err, "MOVED ", "ASK "):
		return record, fmt.Errorf("%w: the server is part of a Cluster: %w; %s", ErrUnfit, err, ClusterRemedy(client))
	default:
		return record, fmt.Errorf("%w: reading key %s: %w", lane.ErrUnavailable, store.RecordKey(cfg.Prefix), err)
	}
}

func adopt(ctx context.Context, client redis.UniversalClient, cfg Config, a asker) (store.Record, error) {
	key, text := store.RecordKey(cfg.Prefix), ""
	err := a.ask(ctx, func() (err error) {
		if text, err = client.Get(ctx, key).Result(); errors.Is(err, redis.Nil) {
			text, err = "", nil
		}
		return err
	})
	if err != nil {
		return store.Record{}, err
	}
	if text != "" {
		record, err := adopted(text, cfg)
		if err == nil {
			err = agrees(ctx, client, cfg, record, &a)
		}
		if err == nil && cfg.Partitions != 0 && cfg.Partitions != record.Partitions {
			cfg.Logger.Warn("bursar: number of partitions adopted", "prefix", cfg.Prefix, "wanted", cfg.Partitions, "stored", record.Partitions)
		}
		return record, err
	}
	record := store.Record{Layout: luascripts.Layout, Partitions: cfg.Partitions}
	found, err := existingPartitions(ctx, client, cfg.Prefix, &a)
	switch {
	case err != nil:
		return record, err
	case len(found) > 1:
		return record, fmt.Errorf("%w: prefix %q has ledgers of %v partitions and no record: find out which are right, and set key %s", lane.ErrCorrupt, cfg.Prefix, found, key)
	case len(found) == 1:
		record.Partitions = found[0]
		if err := a.ask(ctx, func() error { return client.SetNX(ctx, key, record.String(), 0).Err() }); err != nil {
			return record, err
		}
		cfg.Logger.Error("bursar: record of partitions restored", "prefix", cfg.Prefix, "partitions", record.Partitions)
		return adopted(record.String(), cfg)
	case cfg.Partitions == 0:
		record.Partitions = cfg.DefaultPartitions
	}
	return record, nil
}

func adopted(text string, cfg Config) (store.Record, error) {
	record, err := store.ParseRecord(text)
	if err != nil {
		return record, fmt.Errorf("%w: key %s: %w: use another prefix, or restore the key", lane.ErrCorrupt, store.RecordKey(cfg.Prefix), err)
	}
	return record, readable(record.Layout, cfg.Prefix)
}

// readable returns ErrLayout for another layout than this program's.
func readable(layout int, prefix string) error {
	if layout == luascripts.Layout {
		return nil
	}
	return fmt.Errorf("%w: prefix %q is in layout %d, and this program reads %d: use the program that wrote it, or another prefix", lane.ErrLayout, prefix, layout, luascripts.Layout)
}

// agrees returns an error if partitions exist, but none under the recorded number: the
// record was overwritten, and with it EnsureTenant would create tenants again.
func agrees(ctx context.Context, client redis.UniversalClient, cfg Config, record store.Record, a *asker) error {
	exists, err := exist(ctx, client, cfg.Prefix, record.Partitions, a)
	if err != nil || exists {
		return err
	}
	found, err := existingPartitions(ctx, client, cfg.Prefix, a)
	if err == nil && len(found) > 0 {
		key := store.RecordKey(cfg.Prefix)
		return fmt.Errorf("%w: key %s is %q, and prefix %q has ledgers of %v partitions: find out which are right, and set the key", lane.ErrCorrupt, key, record, cfg.Prefix, found)
	}
	return err
}

// existingPartitions returns the numbers of partitions for which a ledger exists.
func existingPartitions(ctx context.Context, client redis.UniversalClient, prefix string, a *asker) (found []int, err error) {
	for p := 1; p <= store.MaxPartitions; p *= 2 {
		exists, err := exist(ctx, client, prefix, p, a)
		if err != nil {
			return nil, err
		}
		if exists {
			found = append(found, p)
		}
	}
	return found, nil
}

// exist reports whether a ledger of one of p partitions exists. One of another layout is
// ErrLayout: if the record is lost, it shows that nodes of another version have budgets
// there, perhaps in other keys than this program would create.
func exist(ctx context.Context, client redis.UniversalClient, prefix string, p int, a *asker) (bool, error) {
	headers := make([]*redis.StringCmd, p)
	err := a.ask(ctx, func() error {
		pipe := client.Pipeline()
		for i := range headers {
			headers[i] = pipe.HGet(ctx, store.KeysOf(prefix, p, i).Ledger, store.HeaderField)
		}
		_, _ = pipe.Exec(ctx) // each command carries its own error
		for _, header := range headers {
			if err := header.Err(); err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	exists := false
	for _, header := range headers {
		if errors.Is(header.Err(), redis.Nil) {
			continue
		}
		h, err := store.ParseHeader(header.Val())
		if err == nil {
			if err := readable(h.Layout, prefix); err != nil {
				return false, err
			}
		}
		exists = exists || err != nil || h.Partitions == p // damaged ones count
	}
	return exists, nil
}
