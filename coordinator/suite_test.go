package coordinator_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/coordinator/redistest"
)

// on returns a factory of subjects on one Redis, each of two nodes under a key prefix of
// its own.
func on(clients ...redis.UniversalClient) budgettest.Factory {
	return func(t testing.TB, c budgettest.Config) budgettest.Subject {
		prefix := fmt.Sprintf("suite-%016x", rand.Uint64())
		var nodes []budget.Engine
		var crossings budgettest.CrossingLog
		for _, client := range clients {
			opts := []coordinator.Option{
				coordinator.WithKeyPrefix(prefix),
				coordinator.WithHoldTTL(c.HoldTTL),
				coordinator.WithCallTimeout(time.Minute), // on a busy machine, 1500 holds that end at once may take 10 s
				coordinator.WithOnThreshold(crossings.Add),
				coordinator.WithLogger(slog.New(slog.DiscardHandler)),
			}
			if c.Clock != nil {
				opts = append(opts, coordinator.WithClock(c.Clock))
			}
			node, err := coordinator.New(context.Background(), client, opts...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				if err := node.Close(ctx); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			nodes = append(nodes, node)
		}
		return budgettest.Subject{
			Engine: budgettest.Spread(nodes...),
			Stored: func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
				return audit.Read(ctx, clients[0], prefix)
			},
			Levels: true, Settings: true, Windows: true, Limits: true, Crossings: crossings.All,
		}
	}
}

func TestSuiteOnRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budgettest.Run(t, on(server.Client(), server.Client()))
}

func TestSuiteOnCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	budgettest.Run(t, func(t testing.TB, c budgettest.Config) budgettest.Subject {
		subject := on(cluster.Client(), cluster.Client())(t, c)
		// With the race detector, the checks of windows run on one server alone: the code that knows
		// of a Cluster is the same for all operations.
		subject.Windows = !raceDetector
		return subject
	})
}
