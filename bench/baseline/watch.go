package baseline

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// watchAttempts bounds the attempts of a call. On a hot tenant one of the concurrent calls
// wins each time, and more attempts of the others would only add load.
const watchAttempts = 16

// watching keeps budgets behind an optimistic lock: WATCH the tenant's hash, read it, decide
// in the program, and write in a MULTI that EXEC rejects after a concurrent change. It never
// overspends and settles a hold once. A call that loses every attempt returns ErrConflict.
type watching struct{ hashStore }

// watched has the fields that a decision needs.
type watched struct {
	remaining, reserved, committed, hold budget.Microcents
	known, held                          bool
}

// TryReserve returns Reserved, Insufficient or MissingTenant.
func (w *watching) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	id := w.ids.next(tenant)
	var result budget.Reservation
	err := w.change(ctx, id, func(row *watched) bool {
		switch {
		case !row.known:
			result = budget.Reservation{Outcome: budget.MissingTenant}
			return false
		case cost <= 0 || row.remaining < cost:
			result = budget.Reservation{Outcome: budget.Insufficient, Remaining: row.remaining, Required: cost}
			return false
		}
		row.remaining -= cost
		row.reserved += cost
		row.hold, row.held = cost, true
		result = budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: row.remaining}
		return true
	})
	if err != nil {
		return budget.Reservation{}, err
	}
	return result, nil
}

// Commit returns Committed, Overrun or MissingReservation.
func (w *watching) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	var result budget.Settlement
	err := w.change(ctx, id, func(row *watched) bool {
		switch {
		case !row.held:
			result = budget.Settlement{Outcome: budget.MissingReservation}
			return false
		case row.remaining < actual-row.hold:
			result = budget.Settlement{Outcome: budget.Overrun, Remaining: row.remaining}
			return false
		}
		row.remaining += row.hold - actual
		row.reserved -= row.hold
		row.committed += actual
		row.held = false
		result = budget.Settlement{Outcome: budget.Committed, Remaining: row.remaining, Actual: actual}
		return true
	})
	if err != nil {
		return budget.Settlement{}, err
	}
	return result, nil
}

// Release commits nothing.
func (w *watching) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return released(w.Commit(ctx, id, 0))
}

// change makes a decision, once per attempt, and writes its result if the row is unchanged.
// decide reports whether there is anything to write.
func (w *watching) change(ctx context.Context, id budget.ReservationID, decide func(*watched) bool) error {
	key, field := w.key(id.Tenant()), holdField(id)
	attempt := func(tx *redis.Tx) error {
		row, err := readWatched(ctx, tx, key, field)
		if err != nil || !decide(&row) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			terms := []any{"remaining", int64(row.remaining), "reserved", int64(row.reserved), "committed", int64(row.committed)}
			if row.held {
				p.HSet(ctx, key, append(terms, field, int64(row.hold))...)
			} else {
				p.HSet(ctx, key, terms...)
				p.HDel(ctx, key, field)
			}
			return nil
		})
		return err
	}
	for range watchAttempts {
		if err := w.client.Watch(ctx, attempt, key); !errors.Is(err, redis.TxFailedErr) {
			return err
		}
	}
	return ErrConflict
}

func readWatched(ctx context.Context, tx *redis.Tx, key, field string) (row watched, err error) {
	values, err := tx.HMGet(ctx, key, "remaining", "reserved", "committed", field).Result()
	if err != nil {
		return watched{}, err
	}
	row.known, row.held = values[0] != nil, values[3] != nil
	for i, into := range []*budget.Microcents{&row.remaining, &row.reserved, &row.committed, &row.hold} {
		text, ok := values[i].(string)
		if !ok {
			continue // nil: no such field
		}
		amount, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return watched{}, fmt.Errorf("%s: invalid amount %q: %w", key, text, err)
		}
		*into = budget.Microcents(amount)
	}
	return row, nil
}
