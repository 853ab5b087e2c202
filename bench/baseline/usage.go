package baseline

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/scratch"
)

// RedisStats reads what a Redis has used since it started, over a client of its own, so
// that what it asks itself is no contender's. Of a Cluster it reads the sum over its
// masters.
type RedisStats struct{ client redis.UniversalClient }

// NewRedisStats returns a meter, or nil where this Redis tells nothing: the embedded one
// and some managed services do not.
func NewRedisStats(ctx context.Context, client redis.UniversalClient) *RedisStats {
	m := &RedisStats{client}
	if _, err := m.Read(ctx); err != nil {
		return nil
	}
	return m
}

// Usage is what Redis used, of all its clients: nobody else's may be at work while
// it is measured.
type Usage struct {
	CPU      float64 // seconds, used_cpu_user and used_cpu_sys
	Commands int64   // also those that scripts call; without those by which it is watched
}

// Minus is what was used since an earlier reading.
func (u Usage) Minus(earlier Usage) Usage {
	return Usage{CPU: u.CPU - earlier.CPU, Commands: u.Commands - earlier.Commands}
}

// Plus adds what was used in another stretch.
func (u Usage) Plus(other Usage) Usage {
	return Usage{CPU: u.CPU + other.CPU, Commands: u.Commands + other.Commands}
}

// Read asks Redis. A nil meter reads nothing.
func (m *RedisStats) Read(ctx context.Context) (Usage, error) {
	if m == nil {
		return Usage{}, nil
	}
	var mu sync.Mutex
	var sum Usage
	err := scratch.EachMaster(ctx, m.client, func(ctx context.Context, master *redis.Client) error {
		text, err := master.Info(ctx, "cpu", "commandstats").Result()
		if err != nil {
			return err
		}
		u, err := parseUsage(text)
		mu.Lock()
		defer mu.Unlock()
		sum = sum.Plus(u)
		return err
	})
	return sum, err
}

func parseUsage(text string) (u Usage, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		command, isCommand := strings.CutPrefix(name, "cmdstat_")
		switch {
		case name == "used_cpu_user" || name == "used_cpu_sys":
			var seconds float64
			seconds, err = strconv.ParseFloat(value, 64)
			u.CPU += seconds
		case isCommand && command != "info" && command != "ping":
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			var count int64
			count, err = strconv.ParseInt(calls, 10, 64)
			u.Commands += count
		}
		if err != nil {
			return Usage{}, fmt.Errorf("INFO says %q: %w", line, err)
		}
	}
	return u, nil
}

// RoundTrips counts round trips: each command of its own is one, and each pipeline. It is
// a hook of the client that a contender is given ([redis.UniversalClient]'s AddHook).
type RoundTrips struct{ atomic.Int64 }

// DialHook counts nothing.
func (t *RoundTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook counts a command.
func (t *RoundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		t.Add(1)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook counts a pipeline, and a transaction's MULTI to EXEC, which is
// sent as one.
func (t *RoundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		t.Add(1)
		return next(ctx, cmds)
	}
}
