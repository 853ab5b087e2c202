package budgettest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Audit checks the invariant of every account, in the engine's results and in the store,
// and that the two agree. No operations may run at the same time. tenants are the tenants
// that exist; now is the engine's time, at which the holds that are due in the store count
// as ended. Of an account with a window, the store may be behind.
func Audit(ctx context.Context, s Subject, now time.Time, tenants ...budget.TenantID) error {
	lists, err := listHolds(ctx, s.Engine, tenants)
	if err != nil {
		return err
	}
	if s.abilities().limits {
		if err := auditLimits(ctx, s.Engine, lists); err != nil {
			return err
		}
	}
	if s.Stored == nil {
		return nil
	}
	stored, err := s.Stored(ctx)
	if err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	want, got := make(map[budget.TenantID]account), make(map[budget.TenantID]account)
	for tenant, list := range stored {
		if err := list.Audit(); err != nil {
			return fmt.Errorf("tenant %q in the store: %w", tenant, err)
		}
		if list.Balance.Epoch == (budget.Epoch{}) {
			got[tenant] = accountOf(settleDue(list, now), nil)
		}
	}
	for tenant, list := range lists {
		if list.Balance.Epoch == (budget.Epoch{}) {
			want[tenant] = accountOf(list, nil)
		} else if upToDate(stored[tenant], list, now) {
			want[tenant], got[tenant] = accountOf(list, nil), accountOf(stored[tenant], nil)
		}
	}
	if err := compareAccounts(want, got); err != nil {
		return fmt.Errorf("engine against store: %w", err)
	}
	return nil
}

// upToDate reports whether the store has the present epoch of an account, and no hold that is
// due. Which epoch such a hold is in depends on epochs that a list doesn't have.
func upToDate(stored, list budget.HoldList, now time.Time) bool {
	return stored.Balance.Epoch == list.Balance.Epoch && len(settleDue(stored, now).Holds) == len(stored.Holds)
}

// listHolds returns the engine's Holds of every tenant, audited.
func listHolds(ctx context.Context, engine budget.Engine, tenants []budget.TenantID) (map[budget.TenantID]budget.HoldList, error) {
	lists := make(map[budget.TenantID]budget.HoldList, len(tenants))
	for _, tenant := range tenants {
		list, err := engine.Holds(ctx, tenant)
		if err != nil {
			return nil, fmt.Errorf("holds of %q: %w", tenant, err)
		}
		if err := auditAnswer(tenant, list); err != nil {
			return nil, fmt.Errorf("tenant %q: %w", tenant, err)
		}
		lists[tenant] = list
	}
	return lists, nil
}

// auditLimits checks the limits of every tenant, of which lists has the base limit.
func auditLimits(ctx context.Context, engine budget.Engine, lists map[budget.TenantID]budget.HoldList) error {
	for tenant, list := range lists {
		all, err := engine.Limits(ctx, tenant)
		if err != nil {
			return fmt.Errorf("limits of %q: %w", tenant, err)
		}
		if len(all.Limits) == 0 || all.Limits[0] != list.Balance {
			return fmt.Errorf("tenant %q: the limits are %+v, but the balance is %+v", tenant, all, list.Balance)
		}
		if err := auditList(all); err != nil {
			return fmt.Errorf("tenant %q: %w", tenant, err)
		}
	}
	return nil
}

// auditList checks a result of Limits for consistency. The holds of a limit are among those of the
// base limit.
func auditList(list budget.LimitList) error {
	base := list.Limits[0]
	periods := base.Settings.Limits.All()
	if list.Outcome != budget.Found || base.Limit != budget.NoPeriod || len(list.Limits) != 1+len(periods) {
		return fmt.Errorf("Limits returned %+v, want found, and a balance for each of %s", list, base.Settings.Limits)
	}
	for i, b := range list.Limits {
		s := b.Settings
		switch {
		case b.Outcome != budget.Found || !b.Conserved():
			return fmt.Errorf("the limit by %s doesn't add up: %+v", b.Limit, b)
		case i == 0:
		case b.Limit != periods[i-1] || s != (budget.Settings{Overdraft: s.Overdraft, Thresholds: s.Thresholds, Window: s.Window}) || s.Window.Period != b.Limit:
			return fmt.Errorf("limit %d is %+v, want that by %s, with no settings of the tenant", i, b, periods[i-1])
		case b.Reserved < 0 || b.Ended < 0 || b.Reserved+b.Ended > base.Reserved+base.Ended:
			return fmt.Errorf("the limit by %s reserves %d and %d in ended epochs, more than the base limit: %+v", b.Limit, b.Reserved, b.Ended, base)
		}
	}
	return nil
}

// auditAnswer checks a result of Holds for consistency.
func auditAnswer(tenant budget.TenantID, list budget.HoldList) error {
	if list.Outcome != budget.Found || list.Balance.Outcome != budget.Found {
		return fmt.Errorf("Holds returned %s with a balance %s, want found and found", list.Outcome, list.Balance.Outcome)
	}
	for _, h := range list.Holds {
		if of := h.ID.Tenant(); of != tenant && !strings.HasPrefix(string(of), string(tenant)+"/") {
			return fmt.Errorf("hold %s is another tenant's", h.ID)
		}
		for _, t := range []time.Time{h.Made, h.Deadline} {
			if t.Location() != time.UTC || t.Nanosecond()%int(time.Millisecond) != 0 {
				return fmt.Errorf("hold %s has the time %s, want whole milliseconds in UTC", h.ID, t)
			}
		}
	}
	if !slices.IsSortedFunc(list.Holds, func(a, b budget.Hold) int { return compareIDs(a.ID, b.ID) }) {
		return errors.New("the holds are not in the order of their ids")
	}
	return list.Audit()
}

func compareIDs(a, b budget.ReservationID) int {
	return cmp.Or(cmp.Compare(a.Tenant(), b.Tenant()), bytes.Compare(idBytes(a), idBytes(b)))
}

func idBytes(id budget.ReservationID) []byte {
	hi, lo := id.Bits()
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, hi), lo)
}
