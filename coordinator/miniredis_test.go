//go:build !race

package coordinator_test

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budgettest"
)

// Miniredis compiles the Lua for each call, which takes minutes with the race detector. The
// suite finds the same races on a redis-server, so `make cover` alone runs it here.
func TestSuiteOnMiniredis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	budgettest.Run(t, on(client))
}
