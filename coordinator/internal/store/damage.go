package store

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Damage is stored state that no node writes.
type Damage struct {
	Kind   DamageKind
	Field  string          // of the ledger; "" for the partition as a whole
	Tenant budget.TenantID // "" if it is not known
	Limit  budget.Period   // of the tenant; NoPeriod for its base limit, and for other fields
	What   string
}

// DamageKind classifies damages; its values are stable.
type DamageKind string

// The kinds of damages.
const (
	DamagedHeader     DamageKind = "header"     // missing, cut short, or of another partition
	DamagedControl    DamageKind = "control"    // missing or cut short
	DamagedAccount    DamageKind = "account"    // cut short, or with an impossible serial
	UnbalancedAccount DamageKind = "balance"    // remaining + reserved + committed is not granted, or a rolling window isn't committed
	WrongSum          DamageKind = "holds"      // reserved or the count is not that of the open holds
	WrongDeadline     DamageKind = "deadline"   // a hold is due before its account's earliest deadline
	SharedSerial      DamageKind = "serial"     // two accounts have one serial
	MisplacedAccount  DamageKind = "misplaced"  // its tenant belongs to another partition
	DamagedHold       DamageKind = "hold"       // cut short, of an unknown state, or with impossible figures
	OrphanedHold      DamageKind = "orphan"     // open, and its account was deleted
	UntimedHold       DamageKind = "untimed"    // its deadline has no timer
	DamagedSession    DamageKind = "session"    // cut short or of an unknown state
	DamagedReply      DamageKind = "reply"      // a node's stored reply is cut short
	DamagedEndings    DamageKind = "endings"    // a record of ended holds is cut short
	DamagedEpoch      DamageKind = "epoch"      // an ended epoch is missing, cut short, or doesn't add up
	OrphanedLimit     DamageKind = "limit"      // a limit that its tenant's account doesn't name
	OrphanedEpoch     DamageKind = "unkept"     // an ended epoch that no account keeps
	WrongEnded        DamageKind = "ended"      // an account's sum over its ended epochs isn't theirs
	UnknownField      DamageKind = "field"      // no node writes such a field
	IncompleteTimers  DamageKind = "timers"     // missing, or without the sentinel
	WrongDue          DamageKind = "due"        // a timer is due before the partition looks for one
	LostLedger        DamageKind = "ledger"     // timers without a ledger
	WrongType         DamageKind = "type"       // a key of the partition isn't a hash or sorted set
	DamagedRecord     DamageKind = "record"     // the record of the prefix
	UnknownLayout     DamageKind = "layout"     // of another version
	MixedPartitions   DamageKind = "partitions" // the prefix has another number of partitions, too
)

// BalanceText describes how an account does not balance; it is "" if it does.
func (a Account) BalanceText() string {
	if a.Balanced() {
		return ""
	}
	if whole := (Account{Granted: a.Granted, Remaining: a.Remaining, Reserved: a.Reserved, Committed: a.Committed}); whole.Balanced() {
		return a.ringText()
	}
	terms := fmt.Sprintf("remaining %d + reserved %d + committed %d is not granted %d", a.Remaining, a.Reserved, a.Committed, a.Granted)
	const exact = 1 << 61 // sums of smaller amounts cannot overflow
	for _, term := range []budget.Microcents{a.Granted, a.Remaining, a.Reserved, a.Committed} {
		if term < -exact || term > exact {
			return terms
		}
	}
	return terms + offBy(int64(a.Remaining+a.Reserved+a.Committed-a.Granted))
}

// ringText describes how the parts of a rolling window differ from committed.
func (a Account) ringText() string {
	text := fmt.Sprintf("committed is %d, but the parts of its rolling window", a.Committed)
	sum := budget.Microcents(0)
	for _, amount := range a.Epochs.Ring {
		var err error
		if sum, err = sum.Add(amount); err != nil {
			return text + " don't fit 64 bits together"
		}
	}
	return fmt.Sprintf("%s add up to %d%s", text, sum, offBy(int64(sum-a.Committed)))
}

// offBy describes by how much a figure is wrong; it is "" if it isn't.
func offBy(difference int64) string {
	switch {
	case difference > 0:
		return fmt.Sprintf(": %d too much", difference)
	case difference < 0:
		return fmt.Sprintf(": %d too little", -difference)
	default:
		return ""
	}
}

// NameField describes a field of a ledger in words. The hold of a known tenant is named
// by its reservation.
func NameField(field string, tenant budget.TenantID) string {
	if field == "" {
		return "partition"
	}
	rest := field[1:]
	number := func() uint64 { return (&reader{rest}).uint(len(rest)) }
	switch kind := field[0]; {
	case field == HeaderField:
		return "header"
	case field == ControlField:
		return "control record"
	case kind == luascripts.FieldAccount:
		return accountOf(rest).String()
	case kind == luascripts.FieldHold && len(field) == HoldFieldBytes:
		if id, err := ReservationOf(tenant, field); err == nil && tenant.Validate() == nil {
			return "reservation " + id.String()
		}
		return fmt.Sprintf("reservation %x", rest)
	case kind == luascripts.FieldEpoch:
		if id, start, ok := EpochOfField(field); ok {
			return fmt.Sprintf("ended epoch from %s of %s", budget.Instant(start), id)
		}
		return fmt.Sprintf("field %q", field)
	case kind == luascripts.FieldSession && len(rest) == 8:
		return "session of node " + HexID(number())
	case kind == luascripts.FieldReply && len(rest) == 8:
		return "stored reply of node " + HexID(number())
	case kind == luascripts.FieldRing && len(rest) == 6:
		return fmt.Sprintf("record %d of settled holds", number())
	case kind == luascripts.FieldEndings && len(rest) == 6:
		return fmt.Sprintf("record %d of expired holds", number())
	default:
		return fmt.Sprintf("field %q", field)
	}
}
