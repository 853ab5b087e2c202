package coordinator_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A Cluster needs its own client, and nothing else. The partitions are spread over the
// masters, and a tenant and its levels share one of them.
func Example_cluster() {
	ctx := context.Background()
	servers, err := redistest.SpawnCluster(ctx) // three local masters
	if err != nil {
		log.Fatal(err)
	}
	defer servers.Close()

	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: servers.Addrs()})
	defer client.Close()
	quiet := slog.New(slog.DiscardHandler) // these servers have no persistence, about which New warns
	node, err := coordinator.New(ctx, client, coordinator.WithLogger(quiet))
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)

	for _, tenant := range []budget.TenantID{"acme", "globex", "initech/research"} {
		if _, err := node.EnsureTenant(ctx, tenant, budget.Dollar); err != nil {
			log.Fatal(err)
		}
		settled, err := node.Do(ctx, tenant, 60*budget.Cent, func(context.Context) (budget.Microcents, error) {
			return 45 * budget.Cent, nil
		})
		fmt.Println(tenant, settled.Outcome, settled.Remaining, err)
	}
	// Output:
	// acme committed $0.55 <nil>
	// globex committed $0.55 <nil>
	// initech/research committed $0.55 <nil>
}
