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
type scripted struct{ hashStore }

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

// TryReserve returns Reserved, Insufficient or MissingTenant.
func (s *scripted) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	id := s.ids.next(tenant)
	code, remaining, err := s.run(ctx, scriptedReserve, tenant, cost, id)
	if err != nil {
		return budget.Reservation{}, err
	}
	switch code {
	case 0:
		return budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Required: cost}, nil
	case 1:
		return budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: remaining}, nil
	default:
		return budget.Reservation{Outcome: budget.MissingTenant}, nil
	}
}

// Commit returns Committed, Overrun or MissingReservation.
func (s *scripted) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	code, remaining, err := s.run(ctx, scriptedSettle, id.Tenant(), actual, id)
	if err != nil {
		return budget.Settlement{}, err
	}
	switch code {
	case 0:
		return budget.Settlement{Outcome: budget.Overrun, Remaining: remaining}, nil
	case 1:
		return budget.Settlement{Outcome: budget.Committed, Remaining: remaining, Actual: actual}, nil
	default:
		return budget.Settlement{Outcome: budget.MissingReservation}, nil
	}
}

// Release commits nothing.
func (s *scripted) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return released(s.Commit(ctx, id, 0))
}

func (s *scripted) run(
	ctx context.Context, script *redis.Script, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID,
) (code int64, remaining budget.Microcents, err error) {
	reply, err := script.Run(ctx, s.client, []string{s.key(tenant)}, int64(amount), holdField(id)).Int64Slice()
	if err != nil {
		return 0, 0, err
	}
	if len(reply) != 2 {
		return 0, 0, fmt.Errorf("the script answered %v", reply)
	}
	return reply[0], budget.Microcents(reply[1]), nil
}
