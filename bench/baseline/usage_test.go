package baseline

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/redistest"
)

// The round trips and commands of each baseline for a reserve and its commit.
func TestUsageOfBaselines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		trips, commands int64
	}{
		{Incr, 2, 2},
		{Script, 2, 7}, // EVALSHA with HMGET and HSET; to settle, HDEL as well
		{Watch, 6, 11}, // WATCH, HMGET, MULTI to EXEC with HSET; to settle, HDEL as well
		{Check, 3, 3},  // GET, DECRBY; INCRBY
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client, trips := server.Client(), new(RoundTrips)
			client.AddHook(trips)
			k := New(c.name, client, "p")
			if err := k.Create(t.Context(), "a", 100); err != nil {
				t.Fatal(err)
			}
			cycle := func() {
				res, err := k.TryReserve(t.Context(), "a", 5)
				if err == nil {
					_, err = k.Commit(t.Context(), res.ID, 3)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			cycle() // makes the connection, and loads the script
			meter := NewRedisStats(t.Context(), server.Client())
			before, err := meter.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sent := trips.Load()
			cycle()
			after, err := meter.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			used := after.Minus(before)
			if used.Commands != c.commands || trips.Load()-sent != c.trips {
				t.Errorf("%d commands in %d round trips, want %d in %d", used.Commands, trips.Load()-sent, c.commands, c.trips)
			}
			if used.CPU <= 0 || used.CPU > 1 || before.Plus(used).Commands != after.Commands {
				t.Errorf("%v s of CPU", used.CPU)
			}
		})
	}
}

// A Redis that reports no usage gives a nil RedisStats, which reads zero.
func TestStatsOfASilentRedis(t *testing.T) {
	t.Parallel()
	space, err := scratch.Open(t.Context(), scratch.Embedded, connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close(t.Context())
	meter := NewRedisStats(t.Context(), space.Client())
	if used, err := meter.Read(t.Context()); meter != nil || err != nil || used != (Usage{}) {
		t.Errorf("%v reads %+v, %v", meter, used, err)
	}
}

func TestStatsOfADeadRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := server.Options()
	options.MaxRetries, options.DialerRetries = -1, 1
	client := redis.NewClient(options)
	defer client.Close()
	meter := NewRedisStats(t.Context(), client)
	server.Kill()
	if used, err := meter.Read(t.Context()); err == nil {
		t.Errorf("it reads %+v", used)
	}
}

func TestParseUsage(t *testing.T) {
	t.Parallel()
	got, err := parseUsage("# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\nused_cpu_sys_children:9\r\n# Commandstats\r\n" +
		"cmdstat_get:calls=7,usec=1,usec_per_call=0.14\r\ncmdstat_config|get:calls=2,usec=1\r\n" +
		"cmdstat_info:calls=100,usec=1\r\ncmdstat_ping:calls=100,usec=1\r\n")
	if err != nil || got != (Usage{CPU: 3.75, Commands: 9}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, line := range []string{"used_cpu_sys:much", "cmdstat_get:calls=many,usec=1", "cmdstat_get:"} {
		if _, err := parseUsage(line); err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// The ids of two nodes differ.
func TestIDs(t *testing.T) {
	t.Parallel()
	one, two := New(Check, nil, "p").(*store), New(Check, nil, "p").(*store)
	seen := make(map[budget.ReservationID]bool)
	for range 100 {
		seen[one.nextID("a")], seen[two.nextID("a")] = true, true
	}
	if len(seen) != 200 {
		t.Errorf("%d ids of 200", len(seen))
	}
}
