package dispatch

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/local"
	"github.com/calybris/bursar/luascripts"
)

type engine struct {
	budget.Engine // nil: the suites without levels and settings call only the methods below

	n       *lane.Node
	d       *Dispatcher
	scripts luascripts.Scripts
}

func newEngine(client redis.UniversalClient, prefix string, clock func() time.Time, partitions int, holdTTL time.Duration) *engine {
	d := New(Config{Client: client, Prefix: prefix, Breaker: 10 * time.Second, Logger: slog.Default(), Now: time.Now})
	scripts := luascripts.Compose(luascripts.Redis)
	n := lane.NewNode(lane.Config{
		Prefix: prefix, Partitions: partitions, Scripts: scripts,
		Store:        store.Config{HoldTTL: holdTTL.Milliseconds(), Retention: 600_000, Ring: 16384, MaxHolds: 100_000},
		RepairWindow: 5 * time.Minute, RepairBytes: 64 << 20, TenantQueue: 16384, TotalQueue: 65536, CallTimeout: 10 * time.Second,
		Clock: clock, Now: time.Now, Entropy: func() uint64 {
			var b [8]byte
			_, _ = rand.Read(b[:])
			return binary.LittleEndian.Uint64(b[:])
		}, Logger: slog.Default(), Observer: lane.NopObserver{}, Wake: d.Wake,
	})
	d.Bind(n)
	return &engine{nil, n, d, scripts}
}

func (e *engine) do(ctx context.Context, kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID, ttl ...time.Duration) (lane.Answer, budget.ReservationID, error) {
	if err := errors.Join(ctx.Err(), tenant.Validate(), e.n.Admit()); err != nil {
		return lane.Answer{}, id, err
	}
	c := lane.NewCall(kind, tenant, amount, id)
	if len(ttl) > 0 {
		c.WithTTL(ttl[0])
	}
	return e.n.Do(ctx, c)
}

func (e *engine) EnsureTenant(ctx context.Context, t budget.TenantID, b budget.Microcents, _ ...budget.Setting) (budget.Ensured, error) {
	if err := budget.ValidateBudget(t, b); err != nil {
		return budget.Ensured{}, err
	}
	a, _, err := e.do(ctx, luascripts.KindEnsure, t, b, budget.ReservationID{})
	return budget.Ensured{Outcome: a.Outcome, Remaining: a.Remaining}, err
}
func (e *engine) TryReserve(ctx context.Context, t budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	if cost <= 0 {
		return budget.Reservation{Outcome: budget.Insufficient, Required: cost}, nil
	}
	o, err := budget.Apply(opts)
	if err != nil {
		return budget.Reservation{}, err
	}
	var ttl []time.Duration
	if o.HasHoldTTL {
		ttl = append(ttl, o.HoldTTL)
	}
	a, id, err := e.do(ctx, luascripts.KindReserve, t, cost, budget.ReservationID{}, ttl...)
	r := budget.Reservation{Outcome: a.Outcome, Remaining: a.Remaining, Required: a.Required}
	if a.Outcome == budget.Reserved {
		r.ID = id
	}
	return r, err
}
func (e *engine) settle(ctx context.Context, kind byte, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	a, _, err := e.do(ctx, kind, id.Tenant(), actual, id)
	return budget.Settlement{Outcome: a.Outcome, Remaining: a.Remaining, Actual: a.Actual, Returned: a.Returned, Prior: a.Prior}, err
}
func (e *engine) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if actual < 0 {
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	}
	return e.settle(ctx, luascripts.KindCommit, id, actual)
}
func (e *engine) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return e.settle(ctx, luascripts.KindRelease, id, 0)
}
func (e *engine) Lookup(ctx context.Context, id budget.ReservationID) (budget.Fate, error) {
	if err := id.Validate(); err != nil {
		return budget.Fate{}, err
	}
	a, _, err := e.do(ctx, luascripts.KindLookup, id.Tenant(), 0, id)
	f := budget.Fate{Outcome: a.Outcome, Amount: a.Actual}
	if a.At != 0 {
		f.At = time.UnixMilli(a.At).UTC()
	}
	if a.Until != 0 {
		f.Deadline = time.UnixMilli(a.Until).UTC()
	}
	return f, err
}
func (e *engine) Remaining(ctx context.Context, t budget.TenantID) (budget.Remainder, error) {
	a, _, err := e.do(ctx, luascripts.KindRemaining, t, 0, budget.ReservationID{})
	return budget.Remainder{Outcome: a.Outcome, Remaining: a.Remaining}, err
}
func (e *engine) Balance(ctx context.Context, t budget.TenantID, _ ...budget.BalanceOption) (budget.Balance, error) {
	a, _, err := e.do(ctx, luascripts.KindBalance, t, 0, budget.ReservationID{})
	if a.Outcome != budget.Found {
		return budget.Balance{Outcome: a.Outcome}, err
	}
	return *a.Balance, err
}
func (e *engine) Holds(ctx context.Context, t budget.TenantID) (budget.HoldList, error) {
	a, _, err := e.do(ctx, luascripts.KindRemaining, t, 0, budget.ReservationID{})
	if err != nil || a.Outcome != budget.Found {
		return budget.HoldList{Outcome: a.Outcome, Balance: budget.Balance{Outcome: a.Outcome}}, err
	}
	l := e.n.LaneOf(t)
	s := store.NewSnapshot(l.Header(), t, true)
	for !s.Done() {
		reply, err := e.d.Read(ctx, l, &e.scripts.Page, s.Args())
		if err == nil {
			err = s.Add(reply)
		}
		if err != nil {
			return budget.HoldList{}, err
		}
	}
	account := s.Accounts[store.AccountID{Tenant: t}]
	if account == nil {
		return budget.HoldList{Outcome: budget.MissingTenant, Balance: budget.Balance{Outcome: budget.MissingTenant}}, nil
	}
	if !account.Matches() || len(s.Damages) > 0 {
		return budget.HoldList{}, lane.ErrCorrupt
	}
	return budget.HoldList{Outcome: budget.Found, Balance: account.Balance(), Holds: sorted(account.Holds)}, nil
}
func (e *engine) adjust(ctx context.Context, kind byte, verb string, t budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	if err := budget.ValidateAdjustment(verb, t, amount); err != nil {
		return budget.Adjustment{}, err
	}
	a, _, err := e.do(ctx, kind, t, amount, budget.ReservationID{})
	return budget.Adjustment{Outcome: a.Outcome, Remaining: a.Remaining, Required: a.Required}, err
}
func (e *engine) Grant(ctx context.Context, t budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return e.adjust(ctx, luascripts.KindGrant, "grant", t, amount)
}
func (e *engine) Withdraw(ctx context.Context, t budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return e.adjust(ctx, luascripts.KindWithdraw, "withdraw", t, amount)
}

func factory(clients ...redis.UniversalClient) budgettest.Factory {
	return func(t testing.TB, c budgettest.Config) budgettest.Subject {
		prefix := fmt.Sprintf("suite-%016x", randv2.Uint64())
		var nodes []budget.Engine
		var first *engine
		for _, client := range clients {
			e := newEngine(client, prefix, c.Clock, 4, c.HoldTTL)
			if first == nil {
				first = e
			}
			nodes = append(nodes, e)
		}
		return budgettest.Subject{
			Engine: budgettest.Spread(nodes...),
			Stored: func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
				all := make(map[budget.TenantID]budget.HoldList)
				for i := range 4 {
					keys := store.KeysOf(prefix, 4, i)
					header, err := clients[0].HGet(ctx, keys.Ledger, "f").Result()
					if err != nil {
						continue
					}
					s := store.NewSnapshot(header, "", true)
					for !s.Done() {
						reply, err := clients[0].Eval(ctx, first.scripts.Page.Source, []string{keys.Ledger, keys.Timers}, s.Args()...).Slice()
						if err == nil {
							err = s.Add(reply)
						}
						if err != nil {
							return nil, err
						}
					}
					if len(s.Damages) > 0 {
						return nil, fmt.Errorf("damages %v", s.Damages)
					}
					for id, a := range s.Accounts {
						if !a.Matches() || !a.Balanced() {
							return nil, fmt.Errorf("%s: %+v", id, a)
						}
						if id.Limit != budget.NoPeriod {
							continue
						}
						all[id.Tenant] = budget.HoldList{Outcome: budget.Found, Balance: a.Balance(), Holds: sorted(a.Holds)}
					}
				}
				return all, nil
			},
		}
	}
}

func TestSuite(t *testing.T) {
	server := redistest.Start(t)
	budgettest.Run(t, factory(server.Client(), server.Client()))
}

func TestAgrees(t *testing.T) {
	server := redistest.Start(t)
	budgettest.Differential(t, func(t testing.TB, c budgettest.Config) budgettest.Subject {
		var opts []local.Option
		if c.Clock != nil {
			opts = append(opts, local.WithClock(c.Clock))
		}
		opts = append(opts, local.WithHoldTTL(c.HoldTTL))
		e, err := local.New(opts...)
		if err != nil {
			t.Fatal(err)
		}
		return budgettest.Subject{Engine: e}
	}, factory(server.Client(), server.Client()))
}

func sorted(h []budget.Hold) []budget.Hold {
	slices.SortFunc(h, func(a, b budget.Hold) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return h
}
