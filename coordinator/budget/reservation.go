package budget

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrInvalidReservationID is returned for text that isn't a reservation ID, and for the
// zero ID, which TryReserve never returns. Nothing was changed.
var ErrInvalidReservationID = errors.New("invalid reservation id")

// ReservationID identifies a reservation: its tenant, and 128 bits that are unique by
// construction. IDs are comparable, any node can settle one, and the text form (String,
// ParseReservationID) is safe in a URL. The zero value identifies no reservation.
type ReservationID struct {
	tenant TenantID
	hi, lo uint64
}

// NewReservationID returns the ID of a tenant and 128 bits. It is for engines, which define
// the meaning of the bits.
func NewReservationID(tenant TenantID, hi, lo uint64) ReservationID {
	return ReservationID{tenant: tenant, hi: hi, lo: lo}
}

// Tenant returns the tenant whose money the reservation holds.
func (id ReservationID) Tenant() TenantID { return id.tenant }

// Bits returns the 128 bits, for engines.
func (id ReservationID) Bits() (hi, lo uint64) { return id.hi, id.lo }

// IsZero reports whether the ID is the zero value.
func (id ReservationID) IsZero() bool { return id.tenant == "" }

// Validate returns an error for the zero value and for an invalid tenant.
func (id ReservationID) Validate() error {
	if id.IsZero() {
		return fmt.Errorf("%w: the zero value; use the ID of a result whose Outcome is Reserved", ErrInvalidReservationID)
	}
	return id.tenant.Validate()
}

const idDigits = 32 // 128 bits in hexadecimal

// String returns the text form: the tenant, with every byte other than an ASCII letter, a
// digit, "-" and "_" written as "~" and two hexadecimal digits, then ".", then 32
// hexadecimal digits. The digits come last, so that a truncated ID is detected. The text
// form of the zero value is "".
func (id ReservationID) String() string {
	if id.IsZero() {
		return ""
	}
	var b strings.Builder
	b.Grow(len(id.tenant) + 1 + idDigits)
	for i := range len(id.tenant) {
		if c := id.tenant[i]; plainInID(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	fmt.Fprintf(&b, ".%016x%016x", id.hi, id.lo)
	return b.String()
}

// ParseReservationID parses the text form. Every ID has exactly one text form.
func ParseReservationID(text string) (ReservationID, error) {
	escaped, digits, found := strings.Cut(text, ".")
	if !found || len(digits) != idDigits || strings.ToLower(digits) != digits {
		return ReservationID{}, fmt.Errorf("%w %.64q: want the tenant, a dot and %d hexadecimal digits, as a reserve printed it", ErrInvalidReservationID, text, idDigits)
	}
	hi, errHi := strconv.ParseUint(digits[:16], 16, 64)
	lo, errLo := strconv.ParseUint(digits[16:], 16, 64)
	if errHi != nil || errLo != nil {
		return ReservationID{}, fmt.Errorf("%w %.64q: %q is not %d hexadecimal digits", ErrInvalidReservationID, text, digits, idDigits)
	}
	tenant, ok := unescapeTenant(escaped)
	id := NewReservationID(tenant, hi, lo)
	if !ok || id.String() != text {
		return ReservationID{}, fmt.Errorf("%w %.64q: its tenant part is damaged", ErrInvalidReservationID, text)
	}
	if err := tenant.Validate(); err != nil {
		return ReservationID{}, fmt.Errorf("%w %.64q: %w", ErrInvalidReservationID, text, err)
	}
	return id, nil
}

// MarshalText returns the text form.
func (id ReservationID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses the text form; an empty text is the zero ID.
func (id *ReservationID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ReservationID{}
		return nil
	}
	parsed, err := ParseReservationID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

func plainInID(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func unescapeTenant(escaped string) (TenantID, bool) {
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '~' {
			b.WriteByte(escaped[i])
			continue
		}
		if i+2 >= len(escaped) {
			return "", false
		}
		c, err := strconv.ParseUint(escaped[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return TenantID(b.String()), true
}

// Compare orders IDs by tenant, then by their 128 bits.
func (id ReservationID) Compare(other ReservationID) int {
	return cmp.Or(cmp.Compare(id.tenant, other.tenant), cmp.Compare(id.hi, other.hi), cmp.Compare(id.lo, other.lo))
}
