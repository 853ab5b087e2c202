package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
)

const (
	ratioRounds  = 5
	ratioRound   = 300 * time.Millisecond
	ratioCallers = 256
)

// ratio compares a speed with that of something simple, in interleaved rounds.
func ratio(name string, ours metrics.Case, theirs ...metrics.Case) (metric, error) {
	if _, err := ours.Rate(ratioRound); err != nil { // to warm up
		return metric{}, err
	}
	got, err := metrics.Compare(ratioRounds, ratioRound, ours, theirs...)
	return newMetric("ratio, "+name, got.Ratio, ratioOfRates), err
}

func ratiosOnRedis(ctx context.Context) (all []metric, err error) {
	f, err := newFixture(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	tenants := make([]budget.TenantID, 1000)
	for i := range tenants {
		tenants[i] = budget.TenantID(fmt.Sprintf("tenant-%03d", i))
		if _, err := f.node.EnsureTenant(ctx, tenants[i], wealth); err != nil {
			return nil, err
		}
	}
	var counting []metrics.Case
	for _, size := range []int{10, 64, 256} {
		options := f.server.Options()
		options.PoolSize = size
		client := redis.NewClient(options)
		defer client.Close()
		counting = append(counting, metrics.Case{Callers: ratioCallers, Each: 1, Work: func(int) error { return client.Incr(ctx, "counter").Err() }})
	}
	script := redis.NewScript("return 1")
	if err := script.Load(ctx, f.admin).Err(); err != nil {
		return nil, err
	}
	bare := metrics.Case{Callers: 1, Each: 1, Work: func(int) error { return f.admin.EvalSha(ctx, script.Hash(), nil).Err() }}
	// cycles returns reserves and commits of some callers over the first tenants.
	cycles := func(callers, over int) metrics.Case {
		turns := make([]int, callers)
		return metrics.Case{Callers: callers, Each: 2, Work: func(k int) error {
			turns[k]++
			id, err := f.reserve(ctx, tenants[(k*131+turns[k]*7)%over])
			if err != nil {
				return err
			}
			return f.commit(ctx, id)
		}}
	}
	refusals := metrics.Case{Callers: ratioCallers, Each: 1, Work: func(int) error { return f.refused(ctx, tenants[0]) }}
	for _, r := range []struct {
		name   string
		ours   metrics.Case
		theirs []metrics.Case
	}{
		{"a hot tenant over INCR", cycles(ratioCallers, 1), counting},
		{"1000 tenants over INCR", cycles(ratioCallers, len(tenants)), counting},
		{"one caller over a bare EVALSHA", cycles(1, 1), []metrics.Case{bare}},
		{"refusals over grants", refusals, []metrics.Case{cycles(ratioCallers, 1)}},
	} {
		m, err := ratio(r.name, r.ours, r.theirs...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// ratioOfLocal compares with the minimum of a budget in memory: a mutex around a number, once
// per cycle.
func ratioOfLocal(ctx context.Context) ([]metric, error) {
	const goroutines, cycles = 64, 100 // cycles between two readings of the clock
	e, err := newLocal(ctx)
	if err != nil {
		return nil, err
	}
	ours := metrics.Case{Callers: goroutines, Each: cycles, Work: func(int) error {
		for range cycles {
			if err := localLoads[0].cycle(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}}
	var mu sync.Mutex
	left := wealth
	locked := metrics.Case{Callers: goroutines, Each: cycles, Work: func(int) error {
		for range cycles {
			mu.Lock()
			left--
			mu.Unlock()
		}
		return nil
	}}
	m, err := ratio("local hot cycles over a mutex", ours, locked)
	return []metric{m}, err
}
