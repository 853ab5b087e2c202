package scratch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// scanStep is the number of keys that Redis scans before it serves other clients.
const scanStep = 1000

// deleteMatching deletes the keys that match a pattern, in steps that do not block a busy
// Redis. SCAN may miss a key that is written during the scan, so all writers must have
// stopped.
func deleteMatching(ctx context.Context, client redis.UniversalClient, pattern string) error {
	return EachMaster(ctx, client, func(ctx context.Context, master *redis.Client) error {
		return eachPage(ctx, master, pattern, func(keys []string) (more bool, err error) {
			pipe := master.Pipeline() // key by key: the keys of a Cluster's master are in many slots
			for _, key := range keys {
				pipe.Unlink(ctx, key)
			}
			_, err = pipe.Exec(ctx)
			return true, err
		})
	})
}

// deleteWithRetries is deleteMatching for a Redis that may be down and restart with its
// data. Each attempt has a client of its own, since a client that has failed several times
// goes on dialling for a while after its Close.
func (s *Space) deleteWithRetries(ctx context.Context, pattern string) error {
	for began := time.Now(); ; {
		client := s.target.SingleAttempt().Client()
		err := deleteMatching(ctx, client, pattern)
		client.Close()
		var refused redis.Error
		final := errors.As(err, &refused) && !redis.IsLoadingError(err)
		if err == nil || final || time.Since(began) > comebackTimeout {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.lifetime.Done():
			return errors.New("it does not answer")
		case <-time.After(retryEvery):
		}
	}
}

// firstMatching returns a key that matches, or "" without one.
func firstMatching(ctx context.Context, client redis.UniversalClient, pattern string) (key string, err error) {
	var mu sync.Mutex
	err = EachMaster(ctx, client, func(ctx context.Context, master *redis.Client) error {
		return eachPage(ctx, master, pattern, func(keys []string) (more bool, err error) {
			mu.Lock()
			defer mu.Unlock()
			key = keys[0]
			return false, nil
		})
	})
	return key, err
}

func eachPage(ctx context.Context, client *redis.Client, pattern string, visit func(keys []string) (more bool, err error)) error {
	for cursor := uint64(0); ; {
		keys, next, err := client.Scan(ctx, cursor, pattern, scanStep).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if more, err := visit(keys); err != nil || !more {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}
