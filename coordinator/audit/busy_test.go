package audit_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// writers run do in n goroutines until the returned function is called, which returns the
// number of calls.
func writers(t testing.TB, n int, do func(ctx context.Context, r *rand.Rand) error) func() int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls atomic.Int64
	for i := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for ctx.Err() == nil {
				if err := do(context.WithoutCancel(ctx), r); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		wg.Wait()
		return calls.Load()
	}
}

// addOne atomically adds one to a byte of a record.
var addOne = redis.NewScript(`
local record, at = redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2] + 0
local byte = string.char((record:byte(at) + 1) % 256)
return redis.call('HSET', KEYS[1], ARGV[1], record:sub(1, at - 1) .. byte .. record:sub(at + 1))`)

// addMicrocent adds a microcent to an amount of a record.
func addMicrocent(t testing.TB, client redis.UniversalClient, key, field string, offset int) {
	t.Helper()
	if err := addOne.Run(t.Context(), client, []string{key}, field, offset+8).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyIsExactWhileOthersWrite(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	e := enginetest.Start(t, client, enginetest.Config{Partitions: 2})
	tenants := names("t%d", 300)
	fill(t, e, tenants...)
	still := fill(t, e, "still")
	for _, tenant := range tenants {
		do(t, e, luascripts.KindGrant, tenant, 1_000_000, budget.ReservationID{})
	}
	stop := writers(t, 32, func(ctx context.Context, r *rand.Rand) error {
		tenant := tenants[r.IntN(len(tenants))]
		switch n := r.IntN(100); {
		case n < 3: // deletes the tenant unless it has holds
			_, _, err := e.Do(ctx, luascripts.KindDelete, tenant, 0, budget.ReservationID{})
			return err
		case n < 6:
			_, _, err := e.Do(ctx, luascripts.KindEnsure, tenant, 1_000_000, budget.ReservationID{})
			return err
		case n < 10:
			_, _, err := e.Do(ctx, luascripts.KindGrant, tenant, 7, budget.ReservationID{})
			return err
		}
		id, err := e.Reserve(ctx, tenant, budget.Microcents(1+r.IntN(100)), []time.Duration{0, 20 * time.Millisecond, time.Second}[r.IntN(3)])
		if err == nil && !id.IsZero() && r.IntN(10) > 0 {
			_, _, err = e.Do(ctx, []byte{luascripts.KindCommit, luascripts.KindRelease}[r.IntN(2)], tenant, budget.Microcents(r.IntN(100)), id)
		}
		return err
	})
	keys := e.Keys("still")
	for range 5 {
		if r := verify(t, client); len(r.Damages)+len(r.Unsettled) > 0 || r.Tenants < 100 {
			t.Errorf("while others write: %+v", r)
		}
	}
	// During a run, after its first page was read, an account or a hold changes.
	for name, change := range map[string]struct {
		field  string
		offset int
		want   want
	}{
		"an account": {store.AccountField("still"), remainingAt, want{store.UnbalancedAccount, `tenant "still"`, ": 1 too much$"}},
		"a hold":     {store.HoldField(still), heldAt, want{store.WrongSum, `tenant "still"`, ": 1 too little"}},
	} {
		f := fieldOf(t, client, keys.Ledger, change.field)
		hooked := server.Client()
		hooked.AddHook(&before{name: "evalsha", at: 1, do: func() { addMicrocent(t, client, keys.Ledger, change.field, change.offset) }})
		r, err := audit.Verify(t.Context(), hooked, store.DefaultPrefix, audit.Options{Root: "still"})
		if err != nil || len(r.Damages) != 1 || !slices.ContainsFunc(r.Damages, change.want.is) {
			t.Errorf("%s changed during the run: %+v, %v", name, r, err)
		}
		f.restore()
	}
	calls := stop()
	r := verify(t, client)
	if len(r.Damages) > 0 {
		t.Errorf("afterwards: %+v", r)
	}
	t.Logf("%d calls, then %d tenants with %d holds", calls, r.Tenants, r.Holds)
}
