package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Limits returns the stored balances of a tenant's base limit and of its other limits, in the
// order of their periods, at one instant: MissingTenant; Found. As with Balance, they may be those
// of ended epochs.
func Limits(ctx context.Context, client redis.UniversalClient, prefix string, tenant budget.TenantID) (budget.LimitList, error) {
	list := budget.LimitList{Outcome: budget.MissingTenant}
	p := Prefix{Name: prefix}
	accounts, err := p.readLimits(ctx, client, tenant)
	for _, a := range accounts {
		b := a.Balance()
		b.Limit = a.limit
		list.Outcome, list.Limits = budget.Found, append(list.Limits, b)
	}
	return list, err
}

// LimitReturns is Returns for all limits of one tenant, by their periods; NoPeriod is its base
// limit.
func LimitReturns(ctx context.Context, client redis.UniversalClient, prefix string, tenant budget.TenantID) (map[budget.Period][]Return, error) {
	p := Prefix{Name: prefix}
	accounts, err := p.readLimits(ctx, client, tenant)
	all := make(map[budget.Period][]Return)
	for _, a := range accounts {
		if returns := returnsOf(a.Account); len(returns) > 0 {
			all[a.limit] = returns
		}
	}
	return all, err
}

type limitAccount struct {
	store.Account
	limit budget.Period
}

// readLimits returns the accounts of a tenant's limits, the base limit first, or none.
func (p *Prefix) readLimits(ctx context.Context, client redis.UniversalClient, tenant budget.TenantID) (accounts []limitAccount, err error) {
	if err = p.readRecord(ctx, client); err == nil && p.Partitions == 0 {
		*p, err = partitions(ctx, client, p.Name, false)
	}
	if err != nil || p.Partitions == 0 {
		return nil, err
	}
	index := store.PartitionOf(tenant, p.Partitions)
	keys := store.KeysOf(p.Name, p.Partitions, index)
	fields := make([]string, 0, budget.Last30Days+1)
	for limit := budget.NoPeriod; limit <= budget.Last30Days; limit++ {
		fields = append(fields, store.AccountID{Tenant: tenant, Limit: limit}.Field())
	}
	records, err := client.HMGet(ctx, keys.Ledger, fields...).Result()
	if err != nil {
		return nil, reading(keys.Ledger, err)
	}
	if records[0] == nil {
		return nil, nil
	}
	if _, err := readHeader(ctx, client, keys, p.Partitions, index); err != nil {
		return nil, err
	}
	for i, record := range records {
		text, exists := record.(string)
		if !exists {
			continue
		}
		a, ok, errParse := store.ParseAccount(text)
		if errParse != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s: %s: %w", ErrUnreadable, keys.Ledger, store.NameField(fields[i], tenant), errParse))
			continue
		}
		limit := budget.Period(i)
		if ok && (limit == budget.NoPeriod || len(accounts) > 0) {
			accounts = append(accounts, limitAccount{a, limit})
		}
	}
	return accounts, err
}

// addLimits adds the limits that a tenant has beside its base limit, and those that its account
// doesn't name. It returns the periods of all.
func (n *inspector) addLimits(ctx context.Context, index int, account string, tenant budget.TenantID) (found budget.Periods, err error) {
	a, _, _ := store.ParseAccount(account) // recorded as a damage
	for limit := budget.Hour; limit <= budget.Last30Days; limit++ {
		id := store.AccountID{Tenant: tenant, Limit: limit}
		record, ok, err := n.read(ctx, n.keys(index).Ledger, id.Field())
		switch {
		case err != nil:
			return 0, err
		case ok:
			found = found.With(limit)
			n.add(index, id.Field(), record, tenant)
			if err := n.addEpochs(ctx, index, record, id); err != nil {
				return 0, err
			}
		case a.Settings.Limits.Has(limit): // it may have been removed since
			n.fact(id.String(), nil, "missing")
		}
	}
	return found, nil
}

// sumUpAccount compares an account of a snapshot with its holds. of follows the names of its facts.
func (n *inspector) sumUpAccount(index int, s *store.Snapshot, id store.AccountID, of string) {
	a := s.Accounts[id]
	if a == nil { // damaged, or deleted since
		return
	}
	n.fact("open holds"+of, a.Count)
	n.fact("sum of holds"+of, a.Sum)
	if a.Balanced() && !a.Matches() {
		n.damage(index, store.WrongSum, id.String(), a.MismatchText())
	}
}

// addDebited adds the limits that an open hold has debited beside the base limits of its levels.
// Its record doesn't name them.
func (n *inspector) addDebited(ctx context.Context, index int, hold store.Hold) error {
	if !hold.Several {
		return nil
	}
	var debited []string
	for _, level := range store.LevelsOf(hold.Tenant, hold.Levels) {
		for limit := budget.Hour; limit <= budget.Last30Days; limit++ {
			id := store.AccountID{Tenant: level, Limit: limit}
			record, ok, err := n.read(ctx, n.keys(index).Ledger, id.Field())
			if err != nil {
				return err
			}
			if a, exists, err := store.ParseAccount(record); ok && exists && err == nil && hold.Debited(a.Serial) {
				debited = append(debited, id.String())
			}
		}
	}
	if len(debited) > 0 {
		n.fact("further limits", debited, strings.Join(debited, ", "))
	}
	return nil
}
