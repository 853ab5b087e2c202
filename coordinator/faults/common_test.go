//go:build faults

package faults

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newClient(t *testing.T, opts *redis.Options) *redis.Client {
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func slotOf(t *testing.T, cluster *redistest.Cluster, tenant budget.TenantID) int {
	t.Helper()
	slot, err := cluster.Slot(t.Context(), layout.KeysOf(layout.DefaultPrefix, tenant.Root()).Books)
	must(t, err)
	return slot
}
