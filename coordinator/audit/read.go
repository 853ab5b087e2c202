package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/wording"
	"github.com/calybris/bursar/luascripts"
)

// pageSize is the COUNT of a SCAN or HSCAN: the approximate number of keys or fields that
// Redis visits before it serves others.
const pageSize = 1000

// Read returns the base limit of every tenant under a key prefix with its open holds, or only
// those of the given tenants. Each account is exact at the instant at which it was read. An account
// that does not balance, or whose holds do not add up, is returned as stored: see
// [budget.HoldList.Audit]. The cost grows with the size of the whole stored state.
func Read(ctx context.Context, client redis.UniversalClient, prefix string, tenants ...budget.TenantID) (map[budget.TenantID]budget.HoldList, error) {
	p, err := partitions(ctx, client, prefix, false)
	if err != nil {
		return nil, err
	}
	wanted := make(map[budget.TenantID]bool, len(tenants))
	for _, tenant := range tenants {
		wanted[tenant] = true
	}
	all := make(map[budget.TenantID]budget.HoldList)
	for _, i := range p.Existing {
		s, err := readPartition(ctx, client, p, i)
		if err != nil {
			return nil, err
		}
		for id, a := range s.Accounts {
			if id.Limit == budget.NoPeriod && (len(tenants) == 0 || wanted[id.Tenant]) {
				slices.SortFunc(a.Holds, compareHolds)
				all[id.Tenant] = budget.HoldList{Outcome: budget.Found, Balance: a.Balance(), Holds: a.Holds}
			}
		}
	}
	return all, nil
}

func compareHolds(a, b budget.Hold) int {
	aHi, aLo := a.ID.Bits()
	bHi, bLo := b.ID.Bits()
	return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(aHi, bHi), cmp.Compare(aLo, bLo))
}

// readPartition reads a partition and its holds.
func readPartition(ctx context.Context, client redis.UniversalClient, p Prefix, index int) (*store.Snapshot, error) {
	keys := store.KeysOf(p.Name, p.Partitions, index)
	for attempt := 1; ; attempt++ {
		header, err := readHeader(ctx, client, keys, p.Partitions, index)
		if err != nil {
			return nil, err
		}
		s := store.NewSnapshot(header, "", true)
		switch err := readPages(ctx, client, keys, s); {
		case errors.Is(err, store.ErrBehind) && attempt < maxAttempts:
			continue
		case err != nil:
			return nil, err
		}
		for _, d := range s.Damages {
			if d.Kind != store.UnbalancedAccount {
				return nil, fmt.Errorf("%w: %s: %s: %s", ErrUnreadable, keys.Ledger, store.NameField(d.Field, d.Tenant), d.What)
			}
		}
		return s, nil
	}
}

// readHeader returns the header of a partition, if it belongs there.
func readHeader(ctx context.Context, client redis.UniversalClient, keys store.Keys, partitions, index int) (string, error) {
	text, err := client.HGet(ctx, keys.Ledger, store.HeaderField).Result()
	if errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("%w: %s has no header", ErrUnreadable, keys.Ledger)
	}
	if err != nil {
		return "", reading(keys.Ledger, err)
	}
	switch h, err := store.ParseHeader(text); {
	case err != nil:
		return "", fmt.Errorf("%w: %s: %w", ErrUnreadable, keys.Ledger, err)
	case h.Layout != luascripts.Layout:
		return "", fmt.Errorf("%w: %s is in layout %d, and this program reads %d", ErrLayout, keys.Ledger, h.Layout, luascripts.Layout)
	case h.Partitions != partitions || h.Index != index:
		return "", fmt.Errorf("%w: %s", ErrUnreadable, foreignHeader(keys.Ledger, h, partitions, index))
	default:
		return text, nil
	}
}

func foreignHeader(key string, h store.Header, partitions, index int) string {
	return fmt.Sprintf("%s is the key of partition %d of %d, but its header is of partition %d of %d", key, index, partitions, h.Index, h.Partitions)
}

// Balance returns the stored balance of a tenant's base limit: MissingTenant; Found. It may be that of
// an epoch that has ended, and its reserved amount may include holds that are due.
func Balance(ctx context.Context, client redis.UniversalClient, prefix string, tenant budget.TenantID) (budget.Balance, error) {
	b := budget.Balance{Outcome: budget.MissingTenant}
	err := eachPartition(ctx, client, prefix, tenant, func(w *walk, keys store.Keys) error {
		field := store.AccountField(tenant)
		record, err := client.HGet(ctx, keys.Ledger, field).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err != nil {
			return reading(keys.Ledger, err)
		}
		account, ok, err := store.ParseAccount(record)
		if err != nil {
			w.damaged(keys.Ledger, field, tenant, err)
		} else if ok {
			b = account.Balance()
		}
		return nil
	})
	return b, err
}

// EachAccount visits the tenants under a key prefix, page by page, each once and with
// the balance of its base limit at one instant. It may miss an account that is created or deleted during
// the visit, and any account of a partition that moves to another server. It stops at the
// first error of visit and returns it unchanged. Damaged records do not hide the others:
// they are returned as the error at the end.
func EachAccount(ctx context.Context, client redis.UniversalClient, prefix string, visit func(budget.TenantID, budget.Balance) error) error {
	return eachPartition(ctx, client, prefix, "", func(w *walk, keys store.Keys) error {
		seen := make(map[string]bool) // a scan may repeat a field
		return w.eachField(ctx, client, keys.Ledger, "a*", func(field, record string) error {
			if seen[field] {
				return nil
			}
			seen[field] = true
			id, known := store.AccountOfField(field)
			account, ok, err := store.ParseAccount(record)
			if !known {
				err = errors.Join(err, id.Tenant.Validate())
			}
			if err != nil {
				w.damaged(keys.Ledger, field, "", err)
				return nil
			}
			if !ok || id.Limit != budget.NoPeriod {
				return nil
			}
			return visit(id.Tenant, account.Balance())
		})
	})
}

// EachHold visits the open holds under a key prefix, or those of one tenant, page by
// page, each once. It may miss a hold that begins or ends during the visit. Its errors
// are those of EachAccount.
func EachHold(ctx context.Context, client redis.UniversalClient, prefix string, tenant budget.TenantID, visit func(budget.Hold) error) error {
	return eachPartition(ctx, client, prefix, tenant, func(w *walk, keys store.Keys) error {
		seen := make(map[budget.ReservationID]bool) // as above
		return w.eachField(ctx, client, keys.Ledger, "h*", func(field, record string) error {
			hold, err := store.ParseHold(record)
			if err != nil {
				w.damaged(keys.Ledger, field, "", err)
				return nil
			}
			if !hold.Open() || tenant != "" && hold.Tenant != tenant {
				return nil
			}
			id, err := store.ReservationOf(hold.Tenant, field)
			if err = errors.Join(err, hold.Tenant.Validate()); err != nil {
				w.damaged(keys.Ledger, field, hold.Tenant, err)
				return nil
			}
			if seen[id] {
				return nil
			}
			seen[id] = true
			return visit(store.HoldOf(id, hold))
		})
	})
}

// walk visits the fields of partitions, and records unreadable records.
type walk struct {
	unread int
	first  error
}

func (w *walk) damaged(key, field string, tenant budget.TenantID, err error) {
	if w.unread++; w.first == nil {
		w.first = fmt.Errorf("%s: %s: %w", key, store.NameField(field, tenant), err)
	}
}

// eachPartition calls do for a tenant's partition, or for all partitions if it is "".
func eachPartition(ctx context.Context, client redis.UniversalClient, prefix string, tenant budget.TenantID, do func(*walk, store.Keys) error) error {
	p, err := partitions(ctx, client, prefix, false)
	if err != nil {
		return err
	}
	var w walk
	var unreadable []error
	for _, i := range p.Existing {
		if tenant != "" && store.PartitionOf(tenant, p.Partitions) != i {
			continue
		}
		keys := store.KeysOf(prefix, p.Partitions, i)
		_, err := readHeader(ctx, client, keys, p.Partitions, i)
		if err == nil {
			err = do(&w, keys)
		}
		if errors.Is(err, ErrUnreadable) || errors.Is(err, ErrLayout) {
			unreadable = append(unreadable, err)
		} else if err != nil {
			return err
		}
	}
	if w.unread > 0 {
		unreadable = append(unreadable, fmt.Errorf("%w: %s could not be read, first %w", ErrUnreadable, wording.Count(w.unread, "record"), w.first))
	}
	return errors.Join(unreadable...)
}

// eachField visits the fields of a hash that match, page by page. It may visit a field
// more than once.
func (w *walk) eachField(ctx context.Context, client redis.UniversalClient, key, match string, visit func(field, record string) error) error {
	for cursor := uint64(0); ; {
		page, next, err := client.HScan(ctx, key, cursor, match, pageSize).Result()
		if err != nil {
			return reading(key, err)
		}
		for i := 0; i+1 < len(page); i += 2 {
			if err := visit(page[i], page[i+1]); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}
