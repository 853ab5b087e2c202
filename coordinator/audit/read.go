// Package audit is replaced by the one of branch w/audit.
package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

func Read(ctx context.Context, client redis.UniversalClient, prefix string) (map[budget.TenantID]budget.HoldList, error) {
	all := make(map[budget.TenantID]budget.HoldList)
	text, err := client.Get(ctx, store.RecordKey(prefix)).Result()
	if errors.Is(err, redis.Nil) {
		return all, nil
	}
	record, err := store.ParseRecord(text)
	if err != nil {
		return nil, err
	}
	scripts := luascripts.Compose(luascripts.Redis)
	for i := range record.Partitions {
		keys := store.KeysOf(prefix, record.Partitions, i)
		header, err := client.HGet(ctx, keys.Ledger, "f").Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s := store.NewSnapshot(header, "", true)
		for !s.Done() {
			reply, err := client.Eval(ctx, scripts.Page.Source, []string{keys.Ledger, keys.Timers}, s.Args()...).Slice()
			if err == nil {
				err = s.Add(reply)
			}
			if err != nil {
				return nil, err
			}
		}
		if len(s.Damages) > 0 {
			return nil, fmt.Errorf("damages %v", s.Damages)
		}
		for tenant, a := range s.Accounts {
			if !a.Matches() || !a.Balanced() {
				return nil, fmt.Errorf("%q: %+v", tenant, a)
			}
			slices.SortFunc(a.Holds, func(a, b budget.Hold) int { return a.ID.Compare(b.ID) })
			all[tenant] = budget.HoldList{Outcome: budget.Found, Balance: a.Balance(), Holds: a.Holds}
		}
	}
	return all, nil
}
