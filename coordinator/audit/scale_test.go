package audit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
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
	scaleCallers = 256
	// maxPage is the longest time that a page may keep Redis busy.
	maxPage = 5 * time.Millisecond
)

// BenchmarkVerifyUnderLoad verifies the open holds of 10,000 tenants: at rest, with many
// holds ended between pages, while 256 callers reserve and commit, and then with an
// account and a hold changed by a microcent during the run. Every verification must be
// exact.
//
//	go test -run '^$' -bench VerifyUnderLoad/1000000 -benchtime 1x ./coordinator/audit
//
// A page may take at most 5 ms of Redis' CPU time, the least of three readings at rest.
// Under load it reports the pages in the slow log, whose time includes the pauses of the
// machine.
func BenchmarkVerifyUnderLoad(b *testing.B) {
	for _, holds := range []int{100_000, 1_000_000} {
		b.Run(strconv.Itoa(holds), func(b *testing.B) { benchmarkVerify(b, holds) })
	}
}

func benchmarkVerify(b *testing.B, holds int) {
	client := redistest.Start(b, redistest.WithConfig("slowlog-log-slower-than 5000", "slowlog-max-len 100000")).Client()
	e := enginetest.Start(b, client, enginetest.Config{Partitions: 4})
	s := &scale{B: b, client: client, engine: e, tenants: names("tenant-%d", scaleTenants), holds: holds}
	each(b, scaleTenants, func(i int) error {
		_, _, err := e.Do(b.Context(), luascripts.KindEnsure, s.tenants[i], 1_000_000_000, budget.ReservationID{})
		return err
	})
	each(b, holds, func(i int) error {
		id, err := e.Reserve(b.Context(), s.tenants[i%scaleTenants], 100, time.Hour)
		if err == nil && id.IsZero() {
			err = errors.New("a reserve was refused")
		}
		return err
	})
	hold, err := e.Reserve(b.Context(), s.tenants[1], 100, time.Hour)
	if err != nil || hold.IsZero() {
		b.Fatal(hold, err)
	}
	atRest, withEndings := s.longestPage("at rest", 0), s.longestPage("with endings", 2000)

	began := time.Now()
	stop := writers(b, scaleCallers, func(ctx context.Context, r *rand.Rand) error { return s.reserveAndCommit(ctx, r) })
	client.SlowLogReset(b.Context())
	for b.Loop() {
		s.verify("under load", 0, nil)
	}
	b.ReportMetric(atRest, "page-µs")
	b.ReportMetric(withEndings, "page-with-endings-µs")
	slow, changed := 0, false
	page := luascripts.Compose(luascripts.Redis).Page.SHA
	for _, entry := range client.SlowLogGet(b.Context(), 100_000).Val() {
		if strings.EqualFold(entry.Args[0], "evalsha") && entry.Args[1] == page {
			slow++
		}
	}
	b.ReportMetric(float64(slow)/float64(b.N), "slow-pages/op")
	b.ReportMetric(float64(client.Do(b.Context(), "slowlog", "len").Val().(int64))/float64(b.N), "slow-commands/op")
	r := s.verify("changed under load", 2, func() {
		if !changed {
			changed = true
			addMicrocent(b, client, e.Keys(s.tenants[0]).Ledger, store.AccountField(s.tenants[0]), remainingAt)
			addMicrocent(b, client, e.Keys(s.tenants[1]).Ledger, store.HoldField(hold), heldAt)
		}
	})
	for _, w := range []want{{store.UnbalancedAccount, `tenant "tenant-0"`, ": 1 too much$"}, {store.WrongSum, `tenant "tenant-1"`, ": 1 too little"}} {
		if !slices.ContainsFunc(r.Damages, w.is) {
			b.Errorf("nothing is %+v in %+v", w, r.Damages)
		}
	}
	b.ReportMetric(2*float64(stop())/time.Since(began).Seconds(), "decisions/s")
}

type scale struct {
	*testing.B
	client  *redis.Client
	engine  *enginetest.Engine
	tenants []budget.TenantID
	holds   int
}

// each calls do for 0 to n-1, with as many concurrent callers as the load has.
func each(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range scaleCallers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !b.Failed(); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// reserveAndCommit spares the first two tenants, which will be damaged.
func (s *scale) reserveAndCommit(ctx context.Context, r *rand.Rand) error {
	id, err := s.engine.Reserve(ctx, s.tenants[2+r.IntN(scaleTenants-2)], budget.Microcents(1+r.IntN(100)), time.Minute)
	if err == nil && !id.IsZero() {
		_, _, err = s.engine.Do(ctx, luascripts.KindCommit, id.Tenant(), budget.Microcents(r.IntN(100)), id)
	}
	return err
}

// longestPage returns the CPU time in microseconds of the costliest page, the least of
// three readings. After every 100th page, endings holds end.
func (s *scale) longestPage(name string, endings int) float64 {
	s.Helper()
	var least []time.Duration
	for range 3 {
		var pages []time.Duration
		since := s.cpu()
		s.verify(name, 0, func() {
			pages = append(pages, s.cpu()-since)
			if endings > 0 && len(pages)%100 == 0 {
				each(s.B, endings, func(i int) error { return s.reserveAndCommit(s.Context(), rand.New(rand.NewPCG(uint64(i), 0))) })
			}
			since = s.cpu()
		})
		for i := range min(len(least), len(pages)) {
			pages[i] = min(pages[i], least[i])
		}
		least = pages
	}
	sorted := slices.Sorted(slices.Values(least))
	longest := sorted[len(sorted)-1]
	s.Logf("%s: CPU of a page: median %v, p99 %v, most %v", name, sorted[len(sorted)/2], sorted[len(sorted)*99/100], longest)
	if longest > maxPage {
		s.Errorf("%s: a page takes Redis %v, want at most %v", name, longest, maxPage)
	}
	return float64(longest.Microseconds())
}

// cpu returns the CPU time that Redis' main thread has used.
func (s *scale) cpu() (used time.Duration) {
	s.Helper()
	found := 0
	for line := range strings.Lines(s.client.Info(s.Context(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.Fatal(err)
			}
			used += time.Duration(seconds * float64(time.Second))
			found++
		}
	}
	if found != 2 {
		s.Fatal("INFO does not have the CPU time of the main thread")
	}
	return used
}

// verify verifies once, and calls after, unless it is nil, after each page.
func (s *scale) verify(name string, damages int, after func()) audit.Report {
	s.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most, pages := m.HeapInuse, m.HeapInuse, 0
	began := time.Now()
	r, err := audit.Verify(s.Context(), s.client, store.DefaultPrefix, audit.Options{Progress: func(int, int) {
		if pages++; pages%100 == 0 {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
		if after != nil {
			after()
		}
	}})
	took := time.Since(began)
	if err != nil || len(r.Damages) != damages || len(r.Unsettled) > 0 || r.Tenants != scaleTenants || r.Holds < s.holds {
		s.Fatalf("%s: %v, %+v", name, err, r)
	}
	s.Logf("%s: %.2f s for %d tenants and %d holds in %d pages; heap in use %d MB before, at most %d MB",
		name, took.Seconds(), r.Tenants, r.Holds, pages, before>>20, most>>20)
	if name == "under load" {
		s.ReportMetric(float64(most)/(1<<20), "heap-MB")
	}
	return r
}
