package coordinator

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// commandCalls returns how often the server ran a command, from INFO.
func commandCalls(t testing.TB, client *redis.Client, name string) int {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(info, "cmdstat_"+name+":calls=")
	if !found {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ",")
	calls, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func TestCallersShareScriptCalls(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1<<40)
	reserve(t, c, 1)
	const callers, cycles = 256, 40
	before := commandCalls(t, client, "evalsha")
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range cycles {
				id := reserve(t, c, 10)
				if s, err := c.Commit(t.Context(), id, 9); err != nil || s.Err() != nil {
					t.Errorf("Commit: %+v, %v", s, err)
				}
			}
		})
	}
	wg.Wait()
	calls := commandCalls(t, client, "evalsha") - before
	decisions := 2 * callers * cycles
	t.Logf("%d decisions in %d script calls, %.0f a call", decisions, calls, float64(decisions)/float64(calls))
	if calls*30 > decisions {
		t.Errorf("%d script calls for %d decisions; want at least 30 decisions a call", calls, decisions)
	}
	audit(t, client)
}

func TestOneOperationIsOneScriptCall(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	reserve(t, c, 1)
	before := commandCalls(t, client, "evalsha")
	for range 10 {
		reserve(t, c, 1)
	}
	if calls := commandCalls(t, client, "evalsha") - before; calls != 10 {
		t.Errorf("10 operations of one caller took %d script calls", calls)
	}
}
