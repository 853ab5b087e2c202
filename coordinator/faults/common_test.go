//go:build faults

package faults

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
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
	slot, err := cluster.Slot(t.Context(), keysOf(t, cluster.Client(), tenant).Ledger)
	must(t, err)
	return slot
}

// partitions returns the recorded number of partitions.
func partitions(t *testing.T, client redis.UniversalClient) int {
	t.Helper()
	text, err := client.Get(t.Context(), store.RecordKey(store.DefaultPrefix)).Result()
	must(t, err)
	record, err := store.ParseRecord(text)
	must(t, err)
	return record.Partitions
}

// keysOf returns the keys of a tenant's partition.
func keysOf(t *testing.T, client redis.UniversalClient, tenant budget.TenantID) store.Keys {
	t.Helper()
	n := partitions(t, client)
	return store.KeysOf(store.DefaultPrefix, n, store.PartitionOf(tenant, n))
}

// inUse returns the keys of all partitions that exist.
func inUse(t *testing.T, client redis.UniversalClient) (all []store.Keys) {
	t.Helper()
	n := partitions(t, client)
	for i := range n {
		keys := store.KeysOf(store.DefaultPrefix, n, i)
		if exists, err := client.Exists(t.Context(), keys.Ledger).Result(); err != nil {
			t.Fatal(err)
		} else if exists == 1 {
			all = append(all, keys)
		}
	}
	return all
}

func controlOf(t *testing.T, client redis.UniversalClient, ledger string) store.Control {
	t.Helper()
	record, err := client.HGet(t.Context(), ledger, store.ControlField).Result()
	control, errParse := store.ParseControl(record)
	must(t, errors.Join(err, errParse))
	return control
}

// sessions returns the number of nodes' sessions in a partition.
func sessions(t *testing.T, client redis.UniversalClient, ledger string) (n int) {
	t.Helper()
	fields, err := client.HKeys(t.Context(), ledger).Result()
	must(t, err)
	for _, field := range fields {
		if field[0] == luascripts.FieldSession {
			n++
		}
	}
	return n
}
