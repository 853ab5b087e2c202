package baseline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// The candidates of a run: Bursar on Redis, and the baselines.
const (
	Bursar = "bursar"
	Local  = "local" // Bursar's engine in this process
	Incr   = "incr"
	Script = "script"
	Watch  = "watch"
	Check  = "check"
)

// All has every baseline, in the order of a report.
var All = []string{Local, Incr, Script, Watch, Check}

var described = map[string]string{
	Bursar: "Bursar on Redis; concurrent calls share a script call",
	Local:  "Bursar in one process, without Redis",
	Incr:   "an INCR per call, without a decision or records",
	Script: "a hand-written Lua script per call",
	Watch:  fmt.Sprintf("WATCH, read, MULTI and EXEC, up to %d times", watchAttempts),
	Check:  "GET, compare in the program, DECRBY; INCRBY returns the rest",
}

// Describe returns one line about a candidate, for people.
func Describe(name string) string { return described[name] }

// Decides reports whether a candidate can refuse. One that cannot keeps no records.
func Decides(name string) bool { return name != Incr }

// Parse reads names separated by commas, or "all". The result is in the order of [All].
func Parse(list string) ([]string, error) {
	if list == "all" {
		return All, nil
	}
	asked := strings.Split(list, ",")
	for i, name := range asked {
		asked[i] = strings.TrimSpace(name)
		if !slices.Contains(All, asked[i]) {
			return nil, fmt.Errorf("%q: give all, or some of %s; Bursar itself is always measured", asked[i], strings.Join(All, ","))
		}
	}
	var names []string
	for _, name := range All {
		if slices.Contains(asked, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// ErrConflict: the call lost every optimistic-lock attempt and changed nothing. It counts as
// a call without an answer.
var ErrConflict = errors.New("lost every optimistic-lock attempt")

// Store keeps budgets in Redis. It has the calls of a [budget.Engine] that a request needs,
// with the same outcomes.
type Store interface {
	// Create creates a tenant with its budget.
	Create(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) error
	TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error)
	Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error)
	Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error)
	// Spent returns the amount committed and held for a tenant with that budget, by the
	// store's own records, or 0 if it keeps none.
	Spent(ctx context.Context, tenant budget.TenantID, granted budget.Microcents) (budget.Microcents, error)
}

// New returns a store with its keys under a prefix. Each node has its own, which settles the
// holds that it made.
func New(name string, client redis.UniversalClient, prefix string) Store {
	s := &store{node: rand.Uint64()}
	switch name {
	case Incr:
		s.method = counting{client, prefix}
	case Script:
		s.method = scripted{hashes{client, prefix + ":script:"}}
	case Watch:
		s.method = watching{hashes{client, prefix + ":watch:"}}
	case Check:
		s.method = &checking{client: client, prefix: prefix}
	default:
		panic("baseline: no store is named " + name)
	}
	return s
}

// decision is the outcome of a call, with the amount that remains after it.
type decision struct {
	outcome   budget.Outcome
	remaining budget.Microcents
}

// method is a baseline's way to keep budgets in Redis.
type method interface {
	Create(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) error
	Spent(ctx context.Context, tenant budget.TenantID, granted budget.Microcents) (budget.Microcents, error)
	// reserve returns Reserved, Insufficient or MissingTenant.
	reserve(ctx context.Context, id budget.ReservationID, cost budget.Microcents) (decision, error)
	// settle returns Committed, Overrun or MissingReservation. A release settles at 0.
	settle(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (decision, error)
}

// store answers the calls of an engine by a method. Its ids are unique without coordination:
// a random node number and a counter.
type store struct {
	method
	node  uint64
	count atomic.Uint64
}

func (s *store) nextID(tenant budget.TenantID) budget.ReservationID {
	return budget.NewReservationID(tenant, s.node, s.count.Add(1))
}

// TryReserve returns Reserved, Insufficient or MissingTenant.
func (s *store) TryReserve(
	ctx context.Context, tenant budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption,
) (budget.Reservation, error) {
	id := s.nextID(tenant)
	d, err := s.reserve(ctx, id, cost)
	if err != nil {
		return budget.Reservation{}, err
	}
	result := budget.Reservation{Outcome: d.outcome, Remaining: d.remaining}
	if d.outcome == budget.Reserved {
		result.ID = id
	}
	if d.outcome == budget.Insufficient {
		result.Required = cost
	}
	return result, nil
}

// Commit returns Committed, Overrun or MissingReservation.
func (s *store) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	d, err := s.settle(ctx, id, actual)
	if err != nil {
		return budget.Settlement{}, err
	}
	if d.outcome != budget.Committed {
		actual = 0
	}
	return budget.Settlement{Outcome: d.outcome, Remaining: d.remaining, Actual: actual}, nil
}

// Release returns Released or MissingReservation.
func (s *store) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	settled, err := s.Commit(ctx, id, 0)
	if settled.Outcome == budget.Committed {
		settled.Outcome = budget.Released
	}
	return settled, err
}

// counting answers every call with one INCR of the tenant's key, without a decision: the most
// that Redis and go-redis can do with a command per call.
type counting struct {
	client redis.UniversalClient
	prefix string
}

// Create does nothing: INCR creates the key.
func (n counting) Create(context.Context, budget.TenantID, budget.Microcents) error { return nil }

// Spent returns 0.
func (n counting) Spent(context.Context, budget.TenantID, budget.Microcents) (budget.Microcents, error) {
	return 0, nil
}

func (n counting) reserve(ctx context.Context, id budget.ReservationID, _ budget.Microcents) (decision, error) {
	return decision{budget.Reserved, 0}, n.client.Incr(ctx, n.prefix+":incr:"+string(id.Tenant())).Err()
}

func (n counting) settle(ctx context.Context, id budget.ReservationID, _ budget.Microcents) (decision, error) {
	_, err := n.reserve(ctx, id, 0)
	return decision{outcome: budget.Committed}, err
}

// hashes are a hash per tenant: its amounts, and a field for each hold.
type hashes struct {
	client redis.UniversalClient
	prefix string
}

func (h hashes) key(tenant budget.TenantID) string { return h.prefix + "{" + string(tenant) + "}" }

// holdField returns the field of a hold.
func holdField(id budget.ReservationID) string {
	hi, lo := id.Bits()
	return "h" + strconv.FormatUint(hi, 16) + "." + strconv.FormatUint(lo, 16)
}

// Create writes the tenant's hash.
func (h hashes) Create(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) error {
	return h.client.HSet(ctx, h.key(tenant), "granted", int64(amount), "remaining", int64(amount), "reserved", 0, "committed", 0).Err()
}

// Spent adds up the committed amount and the open holds. It does not trust the stored sum of
// the holds.
func (h hashes) Spent(ctx context.Context, tenant budget.TenantID, _ budget.Microcents) (budget.Microcents, error) {
	fields, err := h.client.HGetAll(ctx, h.key(tenant)).Result()
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
