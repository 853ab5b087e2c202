package contender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// Keeper keeps budgets by hand. Its outcomes are those of a [budget.Engine], of
// which it has the three calls that a request needs.
type Keeper interface {
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
func New(name string, client redis.UniversalClient, prefix string) Keeper {
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
		panic("contender: none is written by hand that is named " + name)
	}
}
