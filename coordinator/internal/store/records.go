package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// ErrDamaged is wrapped by the error of a record that cannot be read.
var ErrDamaged = errors.New("damaged record")

// Header is a partition's field f: which layout it is in, which of how many partitions
// it is, and the 64 random bits that were drawn when it was created.
type Header struct {
	Layout      int
	Partitions  int
	Index       int
	Incarnation string // 16 hexadecimal digits
}

// HeaderField and the other names are the fields of a ledger that have a fixed name.
const (
	HeaderField  = string(luascripts.FieldHeader)
	ControlField = string(luascripts.FieldControl)
)

// String is the stored text.
func (h Header) String() string { return h.Begin() + h.Incarnation }

// Begin is the stored text up to the incarnation: all that a node expects of it.
func (h Header) Begin() string { return fmt.Sprintf("%d %d %d ", h.Layout, h.Partitions, h.Index) }

// ParseHeader reads the stored text; of another layout only the layout.
func ParseHeader(text string) (h Header, err error) {
	parts := strings.Split(text, " ")
	h.Layout, _ = strconv.Atoi(parts[0]) // 0 is refused below
	if h.Layout > 0 && h.Layout != luascripts.Layout {
		return Header{Layout: h.Layout}, nil
	}
	if len(parts) == 4 {
		h.Partitions, _ = strconv.Atoi(parts[1])
		h.Index, _ = strconv.Atoi(parts[2])
		h.Incarnation = parts[3]
		if h.String() == text && h.Layout > 0 && h.Index >= 0 && h.Index < h.Partitions &&
			ValidatePartitions(h.Partitions) == nil && isHexID(h.Incarnation) {
			return h, nil
		}
	}
	return Header{}, fmt.Errorf("%w: header %.60q", ErrDamaged, text)
}

// HexID writes 64 bits as 16 hexadecimal digits: incarnations, and nodes in texts.
func HexID(bits uint64) string { return fmt.Sprintf("%016x", bits) }

func isHexID(text string) bool {
	bits, err := strconv.ParseUint(text, 16, 64)
	return err == nil && HexID(bits) == text
}

// Control is a partition's field c. Times are Unix ms, 0 is none.
type Control struct {
	Time       int64
	Due        int64 // no timer is due before
	Sequence   uint64
	LastSerial uint64
	RingHead   uint64
	RingTail   uint64
	RingCount  uint32 // tombstones that the ring names
	Endings    uint64 // timed records so far
}

// EmptyControl is the control of a partition without a batch.
var EmptyControl = strings.Repeat("\x00", luascripts.ControlBytes)

// ParseControl reads field c.
func ParseControl(record string) (Control, error) {
	if len(record) < luascripts.ControlBytes {
		return Control{}, fmt.Errorf("%w: control of %d bytes, want %d", ErrDamaged, len(record), luascripts.ControlBytes)
	}
	r := reader{record}
	return Control{
		Time: int64(r.uint(6)), Due: int64(r.uint(6)), Sequence: r.uint(6), LastSerial: r.uint(6), //nolint:gosec // 48 bits
		RingHead: r.uint(6), RingTail: r.uint(6), RingCount: uint32(r.uint(4)), Endings: r.uint(6), //nolint:gosec // 32 bits
	}, nil
}

// Account is the account of a limit.
type Account struct {
	Granted, Remaining, Reserved, Committed budget.Microcents

	Holds    uint32 // open ones
	Serial   uint64 // never reused in its partition
	Deadline int64  // none of its older holds is due before, 0 if none has a deadline
	Young    int64  // as Deadline, of its younger holds
	Older    uint32 // open holds that count as older ones
	Turn     uint64 // sequence of the partition up to which holds count as older ones
	Settings budget.Settings
	Epochs   *Epochs // nil without a window
}

// ParseAccount reads an account's record; ok is false for one that was deleted.
func ParseAccount(record string) (a Account, ok bool, err error) {
	if record == luascripts.Deleted {
		return Account{}, false, nil
	}
	if len(record) < luascripts.AccountBytes {
		return Account{}, false, fmt.Errorf("%w: account of %d bytes, want %d", ErrDamaged, len(record), luascripts.AccountBytes)
	}
	r := reader{record}
	a = Account{
		Granted: r.amount(), Remaining: r.amount(), Reserved: r.amount(), Committed: r.amount(),
		Holds: uint32(r.uint(4)), Serial: r.uint(6), //nolint:gosec // as wide
		Deadline: int64(r.uint(6)), Young: int64(r.uint(6)), //nolint:gosec // 48 bits
		Older: uint32(r.uint(4)), Turn: r.uint(6), //nolint:gosec // as wide
	}
	if a.Settings, a.Epochs, err = r.settings(); err == nil && r.rest != "" {
		err = fmt.Errorf("%w: account with %d bytes too many", ErrDamaged, len(r.rest))
	}
	if err != nil {
		return Account{}, false, err
	}
	return a, true, nil
}

// Balanced reports whether remaining + reserved + committed = granted, without overflow, neither
// reserved nor committed is below zero, and the parts of a rolling window add up to committed.
// Granted is below zero if a window passed on debt, or if the
// amount of a rolling window was lowered.
func (a Account) Balanced() bool {
	if !a.Epochs.Contains(a.Committed) || a.Reserved < 0 || a.Committed < 0 {
		return false
	}
	spent := uint64(a.Reserved) + uint64(a.Committed)
	if a.Granted < 0 {
		return a.Remaining < 0 && a.Granted == budget.Microcents(uint64(a.Remaining)+spent) //nolint:gosec // as below
	}
	return a.Granted == budget.Microcents(uint64(a.Remaining)+spent) && //nolint:gosec // wraps as the sum does
		(a.Remaining >= 0) == (spent <= uint64(a.Granted))
}

// Balance is the account as callers see it.
func (a Account) Balance() budget.Balance {
	b := budget.Balance{
		Outcome: budget.Found, Granted: a.Granted, Remaining: a.Remaining, Reserved: a.Reserved, Committed: a.Committed,
		Settings: a.Settings,
	}
	a.Epochs.describe(&b)
	return b
}

// Hold is an open hold, or the tombstone of one that has ended.
type Hold struct {
	State    byte // luascripts.HoldOpen and so on
	Held     budget.Microcents
	Serial   uint64 // of its account, or the largest of its levels' accounts
	Sequence uint64 // of the partition when it was made
	Made     int64  // Unix ms
	Deadline int64  // of an open hold, Unix ms, 0 for none
	Ended    int64  // of a tombstone, Unix ms
	EndedSeq uint64 // of the partition when it ended
	Actual   budget.Microcents
	Levels   byte // set of the debited levels: bit 0 is the tenant itself, bit 1 its parent
	Several  bool // it debited other accounts than that of its tenant's base limit
	Tenant   budget.TenantID
}

// OwnLevel is the set of levels that has the tenant's own alone.
const OwnLevel byte = 1

// LevelsOf yields the levels of a set: their distances from the tenant, and their names.
func LevelsOf(tenant budget.TenantID, set byte) iter.Seq2[int, budget.TenantID] {
	return func(yield func(int, budget.TenantID) bool) {
		for distance := 0; tenant != "" && set != 0; distance, tenant, set = distance+1, tenant.Parent(), set>>1 {
			if set&1 != 0 && !yield(distance, tenant) {
				return
			}
		}
	}
}

// AllLevels is the set of all levels that a tenant can have.
const AllLevels byte = 1<<budget.MaxTenantLevels - 1

// Debited reports whether the hold debited the account with this serial, if the account is
// of one of its levels. An account that was created later has a larger serial.
func (h Hold) Debited(serial uint64) bool {
	return serial == h.Serial || h.Several && serial < h.Serial
}

// Open reports whether it is an open hold.
func (h Hold) Open() bool { return h.State == luascripts.HoldOpen }

// ParseHold reads a hold's record.
func ParseHold(record string) (Hold, error) {
	want := luascripts.TombstoneBytes
	if record != "" {
		switch record[0] {
		case luascripts.HoldOpen:
			want = luascripts.HoldBytes
		case luascripts.HoldCommitted, luascripts.HoldReleased, luascripts.HoldExpired:
		default:
			return Hold{}, fmt.Errorf("%w: hold of unknown state %q", ErrDamaged, record[0])
		}
	}
	if len(record) <= want {
		return Hold{}, fmt.Errorf("%w: hold of %d bytes, want more than %d", ErrDamaged, len(record), want)
	}
	r := reader{record}
	h := Hold{State: byte(r.uint(1)), Held: r.amount(), Serial: r.uint(6), Sequence: r.uint(6)} //nolint:gosec // as wide
	made, ends := int64(r.uint(6)), int64(r.uint(6))                                            //nolint:gosec // 48 bits
	h.Made = made
	if h.Open() {
		h.Deadline = ends
	} else {
		h.Ended, h.EndedSeq, h.Actual = ends, r.uint(6), r.amount()
	}
	h.Levels = byte(r.uint(1)) //nolint:gosec // as wide
	h.Tenant = budget.TenantID(r.rest)
	if h.Several = h.Serial >= luascripts.SeveralLevels; h.Several {
		h.Serial -= luascripts.SeveralLevels
	}
	if h.Levels&OwnLevel == 0 || !h.Several && h.Levels != OwnLevel || h.Levels>>(1+strings.Count(string(h.Tenant), "/")) != 0 {
		return Hold{}, fmt.Errorf("%w: hold of impossible levels %08b", ErrDamaged, h.Levels)
	}
	if h.Held < 0 || h.Actual < 0 {
		return Hold{}, fmt.Errorf("%w: hold of a negative amount", ErrDamaged)
	}
	return h, nil
}

// HoldFieldBytes is the length of a hold's field: h and the 16 bytes of its id.
const HoldFieldBytes = 17

// HoldField names the hold of a reservation.
func HoldField(id budget.ReservationID) string {
	return string(AppendHoldField(make([]byte, 0, HoldFieldBytes), id))
}

// AppendHoldField appends the name of the hold of a reservation.
func AppendHoldField(b []byte, id budget.ReservationID) []byte {
	hi, lo := id.Bits()
	b = append(b, luascripts.FieldHold)
	b = binary.BigEndian.AppendUint64(b, hi)
	return binary.BigEndian.AppendUint64(b, lo)
}

// ReservationOf returns the reservation of a tenant whose hold a field names.
func ReservationOf(tenant budget.TenantID, field string) (budget.ReservationID, error) {
	if len(field) != HoldFieldBytes || field[0] != luascripts.FieldHold {
		return budget.ReservationID{}, fmt.Errorf("%w: field %q of a hold", ErrDamaged, field)
	}
	r := reader{field[1:]}
	return budget.NewReservationID(tenant, r.uint(8), r.uint(8)), nil
}

// The bits of an id: the node that made it, the number of the batch and its place there.
const (
	placeBits = 10
	// MaxPlaces is the number of reservations in one batch that can have an id.
	MaxPlaces = 1 << placeBits
)

// NewID names the reservation that a node makes at a place of a numbered batch.
func NewID(tenant budget.TenantID, node, number uint64, place int) budget.ReservationID {
	return budget.NewReservationID(tenant, node, number<<placeBits|uint64(place)) //nolint:gosec // below MaxPlaces
}

// MakerOf returns the node and the number of the batch that made a reservation.
func MakerOf(id budget.ReservationID) (node, number uint64) {
	hi, lo := id.Bits()
	return hi, lo >> placeBits
}

// Session is a node's record in a partition: the last batch that was applied, and the
// codes of its reply. Redis compares its text as a whole.
type Session string

// SessionField and ReplyField name a node's session and the reply to its last batch.
func SessionField(node uint64) string { return string(appendNode(luascripts.FieldSession, node)) }

// ReplyField names the stored reply of a node's last batch.
func ReplyField(node uint64) string { return string(appendNode(luascripts.FieldReply, node)) }

func appendNode(kind byte, node uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, node)
}

// NodeOfField returns the node whose session or reply a field is.
func NodeOfField(field string) (node uint64, ok bool) {
	if len(field) != 9 {
		return 0, false
	}
	r := reader{field[1:]}
	return r.uint(8), true
}

// Valid reports whether the session can be read.
func (s Session) Valid() bool {
	return len(s) >= luascripts.SessionBytes && (s[0] != luascripts.SessionRepairing || len(s) >= luascripts.SessionBytes+8)
}

// Check returns nil for a session that can be read, of a state that nodes write.
func (s Session) Check() error {
	if !s.Valid() {
		return fmt.Errorf("%w: session of %d bytes, want at least %d, or %d in a repair", ErrDamaged, len(s), luascripts.SessionBytes, luascripts.SessionBytes+8)
	}
	switch s.State() {
	case luascripts.SessionNew, luascripts.SessionApplied, luascripts.SessionRepairing, luascripts.SessionClosed:
		return nil
	default:
		return fmt.Errorf("%w: session of unknown state %q", ErrDamaged, s.State())
	}
}

// State is open or closed, among others. This and the other parts are those of a valid
// session.
func (s Session) State() byte { return s[0] }

// Number is that of the last batch.
func (s Session) Number() uint64 { return (&reader{string(s[1:])}).uint(8) }

// Mark is number and digest of the last batch, as the batch had them.
func (s Session) Mark() string { return string(s[1:17]) }

// Time returns the time of the last batch, Unix ms.
func (s Session) Time() int64 { return int64((&reader{string(s[17:])}).uint(6)) } //nolint:gosec // 48 bits

// Since is the last batch that Redis had before a repair that has not ended.
func (s Session) Since() uint64 {
	if s.State() == luascripts.SessionRepairing {
		return (&reader{string(s[luascripts.SessionBytes:])}).uint(8)
	}
	return s.Number()
}

// AppliedSession returns the session after a batch with that mark was applied with these
// results: its codes and the charged amounts. If more is set, the repair that began after batch since goes on.
func AppliedSession(mark string, time int64, more bool, since uint64, results string) Session {
	b := make([]byte, 0, luascripts.SessionBytes+8+len(results))
	if more {
		b = append(b, luascripts.SessionRepairing)
	} else {
		b = append(b, luascripts.SessionApplied)
	}
	b = append(b, mark...)
	b = appendUint(b, uint64(time), 6) //nolint:gosec // a time
	if more {
		b = appendUint(b, since, 8)
	}
	return Session(append(b, results...))
}

// reader takes integers off a record that is long enough.
type reader struct{ rest string }

func (r *reader) uint(bytes int) (n uint64) {
	for i := range bytes {
		n = n<<8 | uint64(r.rest[i])
	}
	r.rest = r.rest[bytes:]
	return n
}

func (r *reader) amount() budget.Microcents { return budget.Microcents(r.uint(8)) } //nolint:gosec // its 64 bits

func appendUint(b []byte, n uint64, bytes int) []byte {
	for shift := 8 * (bytes - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(n>>shift)) //nolint:gosec // the low byte
	}
	return b
}

// HoldOf is an open hold as callers see it.
func HoldOf(id budget.ReservationID, h Hold) budget.Hold {
	hold := budget.Hold{ID: id, Held: h.Held, Made: time.UnixMilli(h.Made).UTC()}
	if h.Deadline != 0 {
		hold.Deadline = time.UnixMilli(h.Deadline).UTC()
	}
	return hold
}
