package scratch

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// deletePrefix deletes the keys that begin with a prefix of [Space.Prefix], in
// steps that keep no busy Redis waiting. SCAN may pass over a key that is
// written meanwhile, so whoever writes must have ended.
func deletePrefix(ctx context.Context, client *redis.Client, prefix string) error {
	const step = 500
	var cursor uint64
	for {
		keys, next, err := client.Scan(ctx, cursor, prefix+":*", step).Result()
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if err := client.Unlink(ctx, keys...).Err(); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}
