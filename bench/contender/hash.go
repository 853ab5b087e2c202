package contender

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// createHash writes the account of a tenant, one hash: the figures, and a field for each hold.
func createHash(ctx context.Context, client redis.UniversalClient, key string, amount budget.Microcents) error {
	return client.HSet(ctx, key, "granted", int64(amount), "remaining", int64(amount), "reserved", 0, "committed", 0).Err()
}

// spentOfHash is what was committed and each open hold; the sum that the contender
// itself keeps of them is not believed.
func spentOfHash(ctx context.Context, client redis.UniversalClient, key string) (budget.Microcents, error) {
	fields, err := client.HGetAll(ctx, key).Result()
	if err != nil {
		return 0, err
	}
	var spent budget.Microcents
	for field, text := range fields {
		if field != "committed" && !strings.HasPrefix(field, "h") {
			continue
		}
		amount, err := strconv.ParseInt(text, 10, 64)
		if err == nil {
			spent, err = spent.Add(budget.Microcents(amount))
		}
		if err != nil {
			return 0, err
		}
	}
	return spent, nil
}
