package store

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// AccountID names an account: that of a tenant's base limit, or of a further one.
type AccountID struct {
	Tenant budget.TenantID
	Limit  budget.Period // NoPeriod for the base limit
}

// String names the account in a text.
func (id AccountID) String() string {
	if id.Limit == budget.NoPeriod {
		return fmt.Sprintf("tenant %q", id.Tenant)
	}
	return fmt.Sprintf("the limit by %s of tenant %q", id.Limit, id.Tenant)
}

// Field names the account's record.
func (id AccountID) Field() string {
	return string(id.append([]byte{luascripts.FieldAccount}))
}

// EpochField names the record of an ended epoch.
func (id AccountID) EpochField(start int64) string {
	return string(id.append(appendUint([]byte{luascripts.FieldEpoch}, uint64(start), 6))) //nolint:gosec // a time
}

// append appends the account's name: the tenant's, with the period of a limit in front.
func (id AccountID) append(b []byte) []byte {
	if id.Limit != budget.NoPeriod {
		b = append(b, byte(id.Limit))
	}
	return append(b, id.Tenant...)
}

// accountOf returns the account of a name.
func accountOf(name string) (id AccountID) {
	if name != "" && name[0] != byte(budget.NoPeriod) && name[0] <= luascripts.MaxPeriod {
		id.Limit, name = budget.Period(name[0]), name[1:]
	}
	id.Tenant = budget.TenantID(name)
	return id
}

// AccountOfField returns the account whose record a field is.
func AccountOfField(field string) (id AccountID, ok bool) {
	if field == "" || field[0] != luascripts.FieldAccount {
		return AccountID{}, false
	}
	id = accountOf(field[1:])
	return id, id.Tenant.Validate() == nil
}

// EpochOfField returns the account and the start of the epoch that a field records.
func EpochOfField(field string) (id AccountID, start int64, ok bool) {
	if len(field) < 8 || field[0] != luascripts.FieldEpoch {
		return AccountID{}, 0, false
	}
	r := reader{field[1:]}
	start = r.time()
	id = accountOf(r.rest)
	return id, start, id.Tenant.Validate() == nil
}

// AccountField names the account of a tenant's base limit.
func AccountField(tenant budget.TenantID) string { return AccountID{Tenant: tenant}.Field() }

// validateAs checks what only the account of a limit can't have: flags or limits, or no window.
func (a *Account) validateAs(id AccountID) error {
	s := &a.Settings
	if id.Limit != budget.NoPeriod && (s.Frozen || s.Closed || s.Limits != 0 || s.Window.Period == budget.NoPeriod) {
		return fmt.Errorf("%w: a limit by %s with the settings %+v", ErrDamaged, id.Limit, *s)
	}
	return nil
}
