package trace

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/calybris/bursar/coordinator/budget"
)

// Replay applies a trace to an engine and returns the number of operations that it applied
// and the differences of their results. The engine must be empty, and its holds must have
// no deadline (a TTL of 0). Replay stops at the first error and returns it, with the
// number and differences of the operations before it.
func Replay(ctx context.Context, engine budget.Engine, t Trace) (operations int, differences []Difference, err error) {
	r := replay{engine: engine, file: t.Name, ids: make(map[string]budget.ReservationID)}
	for _, op := range t.Operations {
		found, err := r.apply(ctx, op)
		if err != nil {
			return operations, differences, fmt.Errorf("%s:%d: %s: %w", t.Name, op.Line, op, err)
		}
		operations++
		differences = append(differences, found...)
	}
	return operations, differences, nil
}

type replay struct {
	engine budget.Engine
	file   string
	ids    map[string]budget.ReservationID
	tenant budget.TenantID // of the last ensure
}

func (r *replay) apply(ctx context.Context, op Operation) ([]Difference, error) {
	switch op.Kind {
	case Ensure:
		res, err := r.engine.EnsureTenant(ctx, op.Tenant, op.Amount)
		if err != nil {
			return nil, err
		}
		r.tenant = op.Tenant
		return nil, res.Err()
	case Reserve:
		return r.reserve(ctx, op)
	case Commit:
		res, err := r.engine.Commit(ctx, r.id(op.Name), op.Amount)
		return op.compare(r.file, settled(res)), err
	case Release:
		res, err := r.engine.Release(ctx, r.id(op.Name))
		return op.compare(r.file, settled(res)), err
	case Remaining:
		res, err := r.engine.Remaining(ctx, op.Tenant)
		return op.compare(r.file, answer(res.Outcome, map[string]budget.Microcents{remaining: res.Remaining})), err
	default:
		return nil, fmt.Errorf("%w: no operation is of kind %q", ErrMalformed, op.Kind)
	}
}

func (r *replay) reserve(ctx context.Context, op Operation) ([]Difference, error) {
	res, err := r.engine.TryReserve(ctx, op.Tenant, op.Amount)
	if err != nil {
		return nil, err
	}
	found := op.compare(r.file, answer(res.Outcome, map[string]budget.Microcents{
		remaining: res.Remaining, required: res.Required,
	}))
	switch {
	case res.Outcome == budget.Reserved && res.ID.Tenant() == op.Tenant:
		r.ids[op.Name] = res.ID
	case res.Outcome == budget.Reserved || !res.ID.IsZero():
		want := "none"
		if res.Outcome == budget.Reserved {
			want = fmt.Sprintf("one of tenant %q", op.Tenant)
		}
		found = append(found, Difference{
			File: r.file, Line: op.Line, Operation: op.String(), Field: "id", Want: want, Got: fmt.Sprintf("%q", res.ID),
		})
	}
	return found, nil
}

// id returns the ID of the reservation with that name. For a name without a reservation it
// returns an ID that matches none: its bits are a constant and a digest, while those of an
// engine's ID include a random number or a counter.
func (r *replay) id(name string) budget.ReservationID {
	if id, given := r.ids[name]; given {
		return id
	}
	tenant := r.tenant
	if tenant == "" {
		tenant = "nobody"
	}
	digest := fnv.New64a()
	digest.Write([]byte(name))
	const unknown = 0x6e6f_626f_6479_2773 // "nobody's" in ASCII
	return budget.NewReservationID(tenant, unknown, digest.Sum64())
}

func settled(res budget.Settlement) Answer {
	return answer(res.Outcome, map[string]budget.Microcents{
		remaining: res.Remaining, actual: res.Actual, returned: res.Returned,
	})
}

// answer returns an Answer with the amounts that the outcome has, and with any other that
// isn't zero, which is a bug of the engine and becomes a difference.
func answer(outcome budget.Outcome, amounts map[string]budget.Microcents) Answer {
	kept := Answer{Outcome: outcome, Amounts: make(map[string]budget.Microcents, len(amounts))}
	for _, name := range carried[outcome] {
		kept.Amounts[name] = amounts[name]
	}
	for name, amount := range amounts {
		if amount != 0 {
			kept.Amounts[name] = amount
		}
	}
	return kept
}
