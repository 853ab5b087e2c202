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
type watching struct{ hashes }

// watched has the fields that a decision needs.
type watched struct {
	remaining, reserved, committed, hold budget.Microcents
	known, held                          bool
}

func (w watching) reserve(ctx context.Context, id budget.ReservationID, cost budget.Microcents) (decision, error) {
	return w.change(ctx, id, func(row *watched) budget.Outcome {
		switch {
		case !row.known:
			return budget.MissingTenant
		case cost <= 0 || row.remaining < cost:
			return budget.Insufficient
		}
		row.remaining -= cost
		row.reserved += cost
		row.hold, row.held = cost, true
		return budget.Reserved
	})
}

func (w watching) settle(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (decision, error) {
	return w.change(ctx, id, func(row *watched) budget.Outcome {
		switch {
		case !row.held:
			row.remaining = 0 // is not part of this answer
			return budget.MissingReservation
		case row.remaining < actual-row.hold:
			return budget.Overrun
		}
		row.remaining += row.hold - actual
		row.reserved -= row.hold
		row.committed += actual
		row.held = false
		return budget.Committed
	})
}

// change makes a decision, once per attempt. If it is Reserved or Committed, change writes
// the row, unless that has changed.
func (w watching) change(
	ctx context.Context, id budget.ReservationID, decide func(*watched) budget.Outcome,
) (d decision, err error) {
	key, field := w.key(id.Tenant()), holdField(id)
	attempt := func(tx *redis.Tx) error {
		row, err := readWatched(ctx, tx, key, field)
		if err != nil {
			return err
		}
		d.outcome = decide(&row)
		d.remaining = row.remaining
		if d.outcome != budget.Reserved && d.outcome != budget.Committed {
			return nil
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
			return d, err
		}
	}
	return decision{}, ErrConflict
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
