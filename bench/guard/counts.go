package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
)

// countOnRedis counts what a decision costs in commands, bytes and allocations.
func countOnRedis(ctx context.Context) (figures []figure, err error) {
	// On one processor, and without a collection in between, pools give back what was
	// put into them.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s, err := newStage(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.measure(ctx, &counter{stage: s})
}

// counter is the meter of what can be counted from outside.
type counter struct {
	stage    *stage
	commands map[string]int64
	sent     int64
	received int64
	memory   runtime.MemStats
}

func (c *counter) begin(ctx context.Context) (err error) {
	if c.commands, err = c.readCommands(ctx); err != nil {
		return err
	}
	c.sent, c.received = c.stage.wire.sent.Load(), c.stage.wire.received.Load()
	runtime.ReadMemStats(&c.memory)
	return nil
}

func (c *counter) end(ctx context.Context, l load) ([]figure, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	sent, received := c.stage.wire.sent.Load(), c.stage.wire.received.Load()
	commands, err := c.readCommands(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	add := func(what string, total float64, r *rule) {
		figures = append(figures, newFigure(l.name+": "+what, total/float64(l.decisions), r))
	}
	total := int64(0)
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if calls := commands[name] - c.commands[name]; calls > 0 {
			total += calls
			add(name, float64(calls), exact)
		}
	}
	add("all commands", float64(total), exact)
	add("bytes sent", float64(sent-c.sent), exact)
	add("bytes received", float64(received-c.received), exact)
	add("allocations", float64(memory.Mallocs-c.memory.Mallocs), allocations)
	add("bytes allocated", float64(memory.TotalAlloc-c.memory.TotalAlloc), allocated)
	return figures, nil
}

var commandCalls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)

// readCommands returns how often the server has run each command, beside this one.
func (c *counter) readCommands(ctx context.Context) (map[string]int64, error) {
	info, err := c.stage.admin.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	commands := make(map[string]int64)
	for _, found := range commandCalls.FindAllStringSubmatch(info, -1) {
		calls, err := strconv.ParseInt(found[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("INFO commandstats: %w", err)
		}
		commands[found[1]] = calls
	}
	delete(commands, "info")
	return commands, nil
}
