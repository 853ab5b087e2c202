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

// The contenders.
const (
	Bursar = "bursar" // ours on Redis
	Local  = "local"  // ours in this process
	Incr   = "incr"
	Script = "script"
	Watch  = "watch"
	Check  = "check"
)

// All is every contender that ours on Redis can be measured against, in the order
// of a report.
var All = []string{Local, Incr, Script, Watch, Check}

var described = map[string]string{
	Bursar: "ours on Redis: what many callers ask shares a script call",
	Local:  "ours in one process, without Redis",
	Incr:   "an INCR a call; it decides nothing and keeps no books",
	Script: "a hand-written Lua script a call",
	Watch:  fmt.Sprintf("WATCH, read, MULTI and EXEC, up to %d times", watchAttempts),
	Check:  "GET, compare in the program, DECRBY; INCRBY gives back the rest",
}

// Describe is one line about a contender, for people.
func Describe(name string) string { return described[name] }

// Decides reports whether a contender ever refuses. One that doesn't keeps no accounts.
func Decides(name string) bool { return name != Incr }

// Parse reads a list of names, separated by commas, or "all". The result is in the
// order of [All], each once.
func Parse(list string) ([]string, error) {
	if list == "all" {
		return All, nil
	}
	asked := strings.Split(list, ",")
	for i, name := range asked {
		asked[i] = strings.TrimSpace(name)
		if !slices.Contains(All, asked[i]) {
			return nil, fmt.Errorf("%q: give all, or some of %s; ours on Redis is always measured", asked[i], strings.Join(All, ","))
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

// ErrConflict: others came between in every attempt; nothing changed, and what was
// held is still held. It is no answer, and is counted as none.
var ErrConflict = errors.New("others came between in every attempt")

// Store keeps budgets by hand. Its outcomes are those of a [budget.Engine], of
// which it has the three calls that a request needs.
type Store interface {
	// Create makes a tenant with its budget.
	Create(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) error
	TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error)
	Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error)
	Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error)
	// Spent returns what is committed and held of a tenant with that budget, by the
	// contender's own accounts in Redis; 0 if it keeps none.
	Spent(ctx context.Context, tenant budget.TenantID, granted budget.Microcents) (budget.Microcents, error)
}

// New returns one of the contenders that are written by hand, with its keys under
// a prefix. Each node of a fleet has its own, which settles what it reserved.
func New(name string, client redis.UniversalClient, prefix string) Store {
	switch name {
	case Incr:
		return counting{client, prefix}
	case Script:
		return &scripted{client: client, prefix: prefix, ids: newIDs()}
	case Watch:
		return &watching{client: client, prefix: prefix, ids: newIDs()}
	case Check:
		return &checking{client: client, prefix: prefix, ids: newIDs()}
	default:
		panic("baseline: none is written by hand that is named " + name)
	}
}

// counting answers every question with one INCR of the tenant's key: what Redis
// and go-redis can do at most, one call each. It decides nothing.
type counting struct {
	client redis.UniversalClient
	prefix string
}

// Create makes nothing: a counter begins where it is first counted.
func (n counting) Create(context.Context, budget.TenantID, budget.Microcents) error { return nil }

// Spent returns 0: a counter keeps no accounts.
func (n counting) Spent(context.Context, budget.TenantID, budget.Microcents) (budget.Microcents, error) {
	return 0, nil
}

func (n counting) incr(ctx context.Context, tenant budget.TenantID) (uint64, error) {
	count, err := n.client.Incr(ctx, n.prefix+":incr:"+string(tenant)).Uint64()
	return count, err
}

// TryReserve counts one, and always says yes.
func (n counting) TryReserve(ctx context.Context, tenant budget.TenantID, _ budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	count, err := n.incr(ctx, tenant)
	if err != nil {
		return budget.Reservation{}, err
	}
	return budget.Reservation{Outcome: budget.Reserved, ID: budget.NewReservationID(tenant, 0, count)}, nil
}

// Commit counts one.
func (n counting) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if _, err := n.incr(ctx, id.Tenant()); err != nil {
		return budget.Settlement{}, err
	}
	return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
}

// Release counts one.
func (n counting) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	if _, err := n.incr(ctx, id.Tenant()); err != nil {
		return budget.Settlement{}, err
	}
	return budget.Settlement{Outcome: budget.Released}, nil
}

// ids are unique without asking anybody: a random node, and a counter.
type ids struct {
	node    uint64
	counter atomic.Uint64
}

func newIDs() *ids { return &ids{node: rand.Uint64()} }

func (i *ids) next(tenant budget.TenantID) budget.ReservationID {
	return budget.NewReservationID(tenant, i.node, i.counter.Add(1))
}

// holdField is where a hash has a hold.
func holdField(id budget.ReservationID) string {
	hi, lo := id.Bits()
	return "h" + strconv.FormatUint(hi, 16) + "." + strconv.FormatUint(lo, 16)
}

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
