package baseline

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// scripted keeps budgets as a team would write it: a Lua script per call, a hash per tenant.
// It never overspends and settles a hold once. It has no deadlines, a repeated call counts
// twice, and amounts above 2^53 microcents are rounded.
type scripted struct{ hashes }

var (
	scriptedReserve = redis.NewScript(`
local books, cost = KEYS[1], tonumber(ARGV[1])
local row = redis.call('HMGET', books, 'remaining', 'reserved')
if not row[1] then return {2, 0} end
local remaining = tonumber(row[1])
if cost <= 0 or remaining < cost then return {0, remaining} end
remaining = remaining - cost
redis.call('HSET', books, 'remaining', string.format('%.0f', remaining),
	'reserved', string.format('%.0f', tonumber(row[2]) + cost), ARGV[2], ARGV[1])
return {1, remaining}`)

	scriptedSettle = redis.NewScript(`
local books, actual = KEYS[1], tonumber(ARGV[1])
local row = redis.call('HMGET', books, ARGV[2], 'remaining', 'reserved', 'committed')
if not row[1] then return {2, 0} end
local held = tonumber(row[1])
local remaining = tonumber(row[2]) + held - actual
if remaining < 0 and actual > held then return {0, remaining + actual - held} end
redis.call('HSET', books, 'remaining', string.format('%.0f', remaining),
	'reserved', string.format('%.0f', tonumber(row[3]) - held),
	'committed', string.format('%.0f', tonumber(row[4]) + actual))
redis.call('HDEL', books, ARGV[2])
return {1, remaining}`)
)

// The first number of a reply selects the outcome.
var (
	reserveOutcomes = []budget.Outcome{budget.Insufficient, budget.Reserved, budget.MissingTenant}
	settleOutcomes  = []budget.Outcome{budget.Overrun, budget.Committed, budget.MissingReservation}
)

func (s scripted) reserve(ctx context.Context, id budget.ReservationID, cost budget.Microcents) (decision, error) {
	return s.run(ctx, scriptedReserve, reserveOutcomes, id, cost)
}

func (s scripted) settle(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (decision, error) {
	return s.run(ctx, scriptedSettle, settleOutcomes, id, actual)
}

func (s scripted) run(
	ctx context.Context, script *redis.Script, outcomes []budget.Outcome, id budget.ReservationID, amount budget.Microcents,
) (decision, error) {
	reply, err := script.Run(ctx, s.client, []string{s.key(id.Tenant())}, int64(amount), holdField(id)).Int64Slice()
	if err != nil {
		return decision{}, err
	}
	if len(reply) != 2 || reply[0] < 0 || reply[0] >= int64(len(outcomes)) {
		return decision{}, fmt.Errorf("the script answered %v", reply)
	}
	return decision{outcomes[reply[0]], budget.Microcents(reply[1])}, nil
}
