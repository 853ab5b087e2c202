//go:build faults

package audit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
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

const (
	scaleTenants = 10_000
	scaleHolds   = 1_000_000
	scaleCallers = 256
)

// crowd runs callers until the returned function is called, which returns how many
// operations were made.
func crowd(t *testing.T, do func(ctx context.Context, r *rand.Rand) error) func() int64 {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var operations atomic.Int64
	for i := range scaleCallers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for ctx.Err() == nil {
				if err := do(context.WithoutCancel(ctx), r); err != nil {
					t.Error(err)
					return
				}
				operations.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		wg.Wait()
		return operations.Load()
	}
}

// bigState makes 1,000,000 open holds over 10,000 tenants.
func bigState(t *testing.T, e *enginetest.Engine) []budget.TenantID {
	t.Helper()
	tenants := names("tenant-%d", scaleTenants)
	var next atomic.Int64
	var made atomic.Int64
	stop := make(chan struct{})
	end := crowd(t, func(ctx context.Context, _ *rand.Rand) error {
		if i := next.Add(1) - 1; i < scaleTenants {
			_, _, err := e.Do(ctx, luascripts.KindEnsure, tenants[i], 1_000_000_000, budget.ReservationID{})
			return err
		} else if i >= scaleTenants+scaleHolds {
			select {
			case <-stop:
			case <-time.After(10 * time.Millisecond):
			}
			return nil
		} else if i < scaleTenants+1000 { // until all tenants are there
			time.Sleep(100 * time.Millisecond)
		}
		id, err := e.Reserve(ctx, tenants[made.Add(1)%scaleTenants], 100, time.Hour)
		if err == nil && id.IsZero() {
			err = fmt.Errorf("a reserve was refused")
		}
		return err
	})
	for next.Load() < scaleTenants+scaleHolds+scaleCallers {
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	end()
	return tenants
}

// pages are the script calls of a run, by the client's clock.
type pages struct {
	before
	mu      sync.Mutex
	count   int
	longest time.Duration
}

func (p *pages) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count++
		p.longest = max(p.longest, time.Since(began))
		return err
	}
}

// slow returns how long the longest command of a kind took Redis, of those above a
// millisecond, and how many there were.
func slow(t *testing.T, client *redis.Client, sha string) (longest time.Duration, count int, above5ms int) {
	t.Helper()
	for _, entry := range client.SlowLogGet(t.Context(), 100_000).Val() {
		if strings.EqualFold(entry.Args[0], "evalsha") && entry.Args[1] == sha || !strings.HasPrefix(strings.ToLower(entry.Args[0]), "eval") {
			longest, count = max(longest, entry.Duration), count+1
			if entry.Duration > 5*time.Millisecond {
				above5ms++
			}
		}
	}
	return longest, count, above5ms
}

func TestScaleVerifyUnderLoad(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("slowlog-log-slower-than 1000", "slowlog-max-len 100000"))
	client := server.Client()
	e := enginetest.Start(t, client, enginetest.Config{Partitions: 4, HoldTTL: time.Minute})
	began := time.Now()
	tenants := bigState(t, e)
	t.Logf("1,000,000 holds of 10,000 tenants were made in %.1fs", time.Since(began).Seconds())
	client.Do(t.Context(), "slowlog", "reset")
	var m runtime.MemStats
	heap := func() uint64 {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	run := func(name string) audit.Report {
		t.Helper()
		hooked := server.Client()
		p := &pages{}
		hooked.AddHook(p)
		base, peak := heap(), uint64(0)
		before := m.TotalAlloc
		began := time.Now()
		pagesSeen := 0
		r, err := audit.Verify(t.Context(), hooked, store.DefaultPrefix, audit.Options{Progress: func(int, int) {
			if pagesSeen++; pagesSeen%100 == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}})
		took := time.Since(began)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&m)
		longest, slowPages, above := slow(t, client, luascripts.Compose(luascripts.Redis).Page.SHA)
		client.Do(t.Context(), "slowlog", "reset")
		t.Logf("%s: %.1fs, %d calls (the longest took the client %v), heap before %d MB, most in use %d MB, allocated %d MB; pages or other commands above 1 ms in Redis: %d, above 5 ms: %d, the longest %v; %d tenants, %d holds, %d damages, unsettled %v",
			name, took.Seconds(), p.count, p.longest, base>>20, peak>>20, (m.TotalAlloc-before)>>20, slowPages, above, longest, r.Tenants, r.Holds, len(r.Damages), r.Unsettled)
		return r
	}
	sound := func(name string) {
		t.Helper()
		if r := run(name); len(r.Damages)+len(r.Unsettled) > 0 || r.Tenants != scaleTenants || r.Holds < scaleHolds {
			t.Errorf("%s: %+v", name, r)
		}
	}
	sound("idle")
	loadBegan := time.Now()
	end := crowd(t, func(ctx context.Context, r *rand.Rand) error {
		id, err := e.Reserve(ctx, tenants[r.IntN(scaleTenants)], budget.Microcents(1+r.IntN(100)))
		if err == nil && !id.IsZero() {
			_, _, err = e.Do(ctx, luascripts.KindCommit, id.Tenant(), budget.Microcents(r.IntN(100)), id)
		}
		return err
	})
	sound("256 callers")
	sound("256 callers, again")

	keys := e.Keys(tenants[77])
	account := fieldOf(t, client, keys.Ledger, store.AccountField(tenants[77]))
	bump := redis.NewScript(`
local record = redis.call('HGET', KEYS[1], ARGV[1])
local at = ARGV[2] + 0
local byte = record:byte(at)
redis.call('HSET', KEYS[1], ARGV[1], record:sub(1, at - 1) .. string.char((byte + 1) % 256) .. record:sub(at + 1))`)
	if err := bump.Run(t.Context(), client, []string{keys.Ledger}, account.name, remainingAt+8).Err(); err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	if r := run("an account by one microcent"); len(r.Damages) != 1 || r.Damages[0].Tenant != tenants[77] {
		t.Errorf("%+v", r)
	}
	operations := end()
	t.Logf("%.0f pairs of operations a second meanwhile", float64(operations)/time.Since(loadBegan).Seconds())
}
