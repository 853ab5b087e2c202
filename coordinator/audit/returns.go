package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Return is an amount that a rolling window gives back: the committed amount of a part, which
// returns to remaining when the part leaves the window.
type Return struct {
	At     budget.Instant    `json:"at"`
	Amount budget.Microcents `json:"amount"`
}

// Returns returns the amounts that the rolling windows of tenants' base limits give back, in the
// order of time. It has no entry for a tenant without an account, a rolling window or a committed amount.
// Those whose time has come return with the next operation on the tenant. It needs no other
// rights than a node.
func Returns(ctx context.Context, client redis.UniversalClient, prefix string, tenants ...budget.TenantID) (map[budget.TenantID][]Return, error) {
	p := Prefix{Name: prefix}
	err := p.readRecord(ctx, client)
	if err == nil && p.Partitions == 0 {
		p, err = partitions(ctx, client, prefix, false)
	}
	if err != nil || p.Partitions == 0 {
		return nil, err
	}
	places := make(map[int][]budget.TenantID)
	for _, tenant := range tenants {
		i := store.PartitionOf(tenant, p.Partitions)
		places[i] = append(places[i], tenant)
	}
	all := make(map[budget.TenantID][]Return)
	for i, tenants := range places {
		for some := range slices.Chunk(tenants, pageSize) {
			if err := readReturns(ctx, client, p, i, some, all); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// readReturns adds the returns of tenants of a partition.
func readReturns(ctx context.Context, client redis.UniversalClient, p Prefix, index int, tenants []budget.TenantID, all map[budget.TenantID][]Return) error {
	keys := store.KeysOf(p.Name, p.Partitions, index)
	fields := make([]string, len(tenants))
	for i, tenant := range tenants {
		fields[i] = store.AccountField(tenant)
	}
	records, err := client.HMGet(ctx, keys.Ledger, fields...).Result()
	if err != nil {
		return reading(keys.Ledger, err)
	}
	if !slices.ContainsFunc(records, func(record any) bool { return record != nil }) {
		return nil
	}
	if _, err := readHeader(ctx, client, keys, p.Partitions, index); err != nil {
		return err
	}
	for i, record := range records {
		text, exists := record.(string)
		if !exists {
			continue
		}
		a, _, err := store.ParseAccount(text)
		if err != nil {
			return fmt.Errorf("%w: %s: %s: %w", ErrUnreadable, keys.Ledger, store.NameField(fields[i], tenants[i]), err)
		}
		if returns := returnsOf(a); len(returns) > 0 {
			all[tenants[i]] = returns
		}
	}
	return nil
}

func returnsOf(a store.Account) (returns []Return) {
	if a.Epochs == nil {
		return nil
	}
	for place, amount := range a.Epochs.Ring {
		if amount > 0 {
			returns = append(returns, Return{budget.Instant(a.Epochs.PartEnd(a.Settings.Window.Period, place)), amount})
		}
	}
	return returns
}
