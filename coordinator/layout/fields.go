package layout

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// The fields of a family's books, by their first byte.
const (
	FamilyField   = "f"
	RingField     = "d" // of what has ended: "head tail count"; the head never goes back
	accountPrefix = "a"
	holdPrefix    = "h"
	sessionPrefix = "s"
	openHold      = 'o'
	idDigits      = 32
)

// Sentinel is the member that keeps the timers in being, with a score of +inf:
// an absent key among a script's keys is answered TRYAGAIN while a slot migrates.
// Its 65 bytes make Redis keep the set as a skip list from the start: as a list
// (up to 128 members of 64 bytes), adding a hold to 100 of one deadline took ten
// times the instructions.
const Sentinel = "-----------------------------------------------------------------"

// FamilyText is a family's field: the layout's version and the incarnation, 16
// hexadecimal digits drawn when the family was created.
func FamilyText(version int, incarnation string) string {
	return strconv.Itoa(version) + " " + incarnation
}

// ParseFamily returns the layout version and the incarnation of a family; of a
// layout that is not known, the version alone.
func ParseFamily(text string) (version, incarnation string, err error) {
	version, incarnation, found := strings.Cut(text, " ")
	if n, err := strconv.Atoi(version); err == nil && n > 0 && !luascripts.Known.Readable(version) {
		return version, "", nil
	}
	if !found || len(incarnation) != 16 || !luascripts.Known.Readable(version) {
		return "", "", fmt.Errorf("field %s: %q is no family", FamilyField, text)
	}
	return version, incarnation, nil
}

// Incarnation writes 64 bits as 16 hexadecimal digits; nodes are written alike.
func Incarnation(bits uint64) string { return string(appendHex(nil, bits)) }

// PutHex writes 64 bits over the first 16 bytes of b as Incarnation does.
func PutHex(b []byte, bits uint64) { appendHex(b[:0], bits) }

// AccountField names the account of a tenant.
func AccountField(tenant budget.TenantID) string { return accountPrefix + tenant.Level() }

// AppendAccountField appends that name.
func AppendAccountField(b []byte, tenant budget.TenantID) []byte {
	return append(append(b, accountPrefix...), tenant.Level()...)
}

// AppendHoldField appends the name of a reservation's hold.
func AppendHoldField(b []byte, id budget.ReservationID) []byte {
	hi, lo := id.Bits()
	b = append(b, holdPrefix...)
	b = appendHex(b, hi)
	b = appendHex(b, lo)
	return append(b, id.Tenant().Level()...)
}

func appendHex(b []byte, bits uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[bits>>shift&15])
	}
	return b
}

// TenantOfAccount returns the tenant of an account's field.
func TenantOfAccount(root budget.TenantID, field string) (budget.TenantID, bool) {
	level, ok := strings.CutPrefix(field, accountPrefix)
	return root + budget.TenantID(level), ok
}

// ParseAccount reads the text of an account.
func ParseAccount(text string) (budget.Balance, error) {
	parts := strings.Split(text, " ")
	if len(parts) != 4 {
		return budget.Balance{}, fmt.Errorf("account %q: want granted, remaining, reserved and committed", text)
	}
	var terms [4]budget.Microcents
	for i, part := range parts {
		amount, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return budget.Balance{}, fmt.Errorf("account %q: %w", text, err)
		}
		terms[i] = budget.Microcents(amount)
	}
	return budget.Balance{
		Outcome: budget.Found,
		Granted: terms[0], Remaining: terms[1], Reserved: terms[2], Committed: terms[3],
	}, nil
}

// DeletedAccount is the text of an account that was deleted, until its field goes.
const DeletedAccount = "-"

// IsHold reports whether a field is a hold, open or ended.
func IsHold(field string) bool { return strings.HasPrefix(field, holdPrefix) }

// ParseHoldField returns the reservation that a hold's field is about.
func ParseHoldField(root budget.TenantID, field string) (budget.ReservationID, error) {
	digits, is := strings.CutPrefix(field, holdPrefix)
	if !is || len(digits) < idDigits {
		return budget.ReservationID{}, fmt.Errorf("%q is no hold's field", field)
	}
	hi, errHi := strconv.ParseUint(digits[:16], 16, 64)
	lo, errLo := strconv.ParseUint(digits[16:idDigits], 16, 64)
	return budget.NewReservationID(root+budget.TenantID(digits[idDigits:]), hi, lo), errors.Join(errHi, errLo)
}

// ParseHold reads a hold. open is false for a tombstone.
func ParseHold(root budget.TenantID, field, text string) (hold budget.Hold, open bool, err error) {
	if text == "" || text[0] != openHold {
		return budget.Hold{}, false, nil
	}
	parts := strings.Split(text[1:], " ")
	if len(parts) != 3 {
		return budget.Hold{}, false, fmt.Errorf("hold %q = %q: want held, made and deadline", field, text)
	}
	id, errID := ParseHoldField(root, field)
	held, errHeld := strconv.ParseInt(parts[0], 10, 64)
	made, errMade := strconv.ParseInt(parts[1], 10, 64)
	deadline, errDeadline := strconv.ParseInt(parts[2], 10, 64)
	for _, e := range []error{errID, errHeld, errMade, errDeadline} {
		if e != nil {
			return budget.Hold{}, false, fmt.Errorf("hold %q = %q: %w", field, text, e)
		}
	}
	hold = budget.Hold{
		ID:   id,
		Held: budget.Microcents(held),
		Made: time.UnixMilli(made).UTC(),
	}
	if deadline != 0 {
		hold.Deadline = time.UnixMilli(deadline).UTC()
	}
	return hold, true, nil
}

// CompareHolds orders holds by their ids.
func CompareHolds(a, b budget.Hold) int {
	return strings.Compare(a.ID.String(), b.ID.String())
}
