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

// RedisStats reads the resource usage of a Redis since its start, over a separate client. In a
// Cluster it reads the sum over the masters.
type RedisStats struct{ client redis.UniversalClient }

// NewRedisStats returns nil if the Redis does not report its usage: the embedded one and some
// managed services do not.
func NewRedisStats(ctx context.Context, client redis.UniversalClient) *RedisStats {
	m := &RedisStats{client}
	if _, err := m.Read(ctx); err != nil {
		return nil
	}
	return m
}

// Usage is that of all clients together.
type Usage struct {
	CPU      float64 // seconds, used_cpu_user and used_cpu_sys
	Commands int64   // including those that scripts call, without INFO and PING
}

// Minus returns the usage since an earlier reading.
func (u Usage) Minus(earlier Usage) Usage {
	return Usage{CPU: u.CPU - earlier.CPU, Commands: u.Commands - earlier.Commands}
}

// Plus adds the usage of another period.
func (u Usage) Plus(other Usage) Usage {
	return Usage{CPU: u.CPU + other.CPU, Commands: u.Commands + other.Commands}
}

// Read returns the usage so far. It returns zero for a nil RedisStats.
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
			return Usage{}, fmt.Errorf("INFO has %q: %w", line, err)
		}
	}
	return u, nil
}

// RoundTrips counts round trips: each single command, pipeline and transaction is one. It is a
// hook of a client.
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

// ProcessPipelineHook counts a pipeline, which a transaction is, too.
func (t *RoundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		t.Add(1)
		return next(ctx, cmds)
	}
}
