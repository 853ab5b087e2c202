//go:build !race

package coordinator_test

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budgettest"
)

// The race detector slows the Lua of miniredis so much that its suite takes two minutes of
// make test. The nodes are the same on Redis, and make cover runs this suite.
func TestSuiteOnMiniredis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	budgettest.Run(t, on(client))
}
