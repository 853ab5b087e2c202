package store

import (
	"fmt"
	"math"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// damage records a damage once.
func (s *Snapshot) damage(kind DamageKind, field string, id AccountID, what string) {
	if key := (reportKey{kind, field}); s.reported[key] {
		return // a scan may repeat a field
	} else if s.reported[key] = true; field != "" && field[0] == luascripts.FieldHold {
		if s.Unnamed[kind]++; s.Unnamed[kind] > MaxNamed {
			return
		}
	}
	s.Damages = append(s.Damages, Damage{kind, field, id.Tenant, id.Limit, what})
}

func (s *Snapshot) addAccount(field, record string) {
	id := accountOf(field[1:])
	if s.Accounts[id] != nil || s.unreadable[id] {
		return // as above
	}
	account, ok, err := ParseAccount(record)
	if err == nil && !ok {
		return
	}
	if err == nil {
		err = id.Tenant.Validate()
	}
	if err == nil {
		err = account.validateAs(id)
	}
	if err != nil {
		s.unreadable[id] = true
		s.damage(DamagedAccount, field, id, err.Error())
		return
	}
	a := &AccountSnapshot{Account: account, Sequence: s.Control.Sequence}
	s.Accounts[id] = a
	if id.Limit != budget.NoPeriod {
		s.limits[id.Tenant] = s.limits[id.Tenant].With(id.Limit)
	}
	s.checkAccount(field, id, a)
}

// checkAccount checks the account's own record.
func (s *Snapshot) checkAccount(field string, id AccountID, a *AccountSnapshot) {
	if !a.Balanced() {
		s.damage(UnbalancedAccount, field, id, a.BalanceText())
	}
	if s.Partitions > 0 {
		if own := PartitionOf(id.Tenant, s.Partitions); own != s.Index {
			s.damage(MisplacedAccount, field, id, fmt.Sprintf("the account is in partition %d of %d, but the tenant belongs to partition %d", s.Index, s.Partitions, own))
		}
	}
	if other, taken := s.bySerial[a.Serial]; taken {
		s.damage(SharedSerial, field, id, fmt.Sprintf("serial %d is also that of %s", a.Serial, other))
	}
	s.bySerial[a.Serial] = id
	if a.Serial == 0 || a.Serial > s.Control.LastSerial && !s.frozen {
		s.damage(DamagedAccount, field, id, fmt.Sprintf("serial %d, but the partition's last one is %d", a.Serial, s.Control.LastSerial))
	}
}

func (s *Snapshot) addHold(field, record string) {
	open := record != "" && record[0] == luascripts.HoldOpen
	if s.skips(record) || open && s.phase == readingAccounts {
		return
	}
	hold, err := ParseHold(record)
	if err == nil {
		err = s.checkHold(field, hold)
	}
	if err != nil {
		s.damage(DamagedHold, field, AccountID{Tenant: hold.Tenant}, err.Error())
		return
	}
	if s.phase == readingAccounts {
		s.ended = append(s.ended, sighting{field, hold})
		return
	}
	s.count(field, hold)
}

// skips reports whether a record is the tombstone of a hold that ended before the
// snapshot began; most are.
func (s *Snapshot) skips(record string) bool {
	if len(record) <= luascripts.TombstoneBytes || s.frozen {
		return false
	}
	switch record[0] {
	case luascripts.HoldCommitted, luascripts.HoldReleased, luascripts.HoldExpired:
		return (&reader{record[33:]}).uint(6) <= s.began
	default:
		return false
	}
}

// checkHold checks the hold's own record.
func (s *Snapshot) checkHold(field string, h Hold) error {
	switch {
	case len(field) != HoldFieldBytes:
		return fmt.Errorf("%w: field of %d bytes, want %d", ErrDamaged, len(field), HoldFieldBytes)
	case h.Held == 0:
		return fmt.Errorf("%w: it holds nothing", ErrDamaged)
	case h.Tenant.Validate() != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, h.Tenant.Validate())
	case h.Sequence > s.Control.Sequence || h.EndedSeq > s.Control.Sequence:
		return fmt.Errorf("%w: made at sequence %d and ended at %d, but the partition is at %d", ErrDamaged, h.Sequence, h.EndedSeq, s.Control.Sequence)
	case !h.Open() && h.EndedSeq < h.Sequence:
		return fmt.Errorf("%w: made at sequence %d, but ended at %d", ErrDamaged, h.Sequence, h.EndedSeq)
	default:
		return nil
	}
}

// count adds a hold, once, to the holds of each of its accounts at the time when the account was
// read. Of the accounts where a hold was seen, a set has bit 8 × distance + period.
func (s *Snapshot) count(field string, hold Hold) {
	id := [16]byte([]byte(field[1:HoldFieldBytes]))
	seen := s.seen[id]
	for distance, level := range LevelsOf(hold.Tenant, hold.Levels) {
		if s.Tenant != "" && level != s.Tenant {
			continue
		}
		a := s.Accounts[AccountID{Tenant: level}]
		if a == nil || !hold.Debited(a.Serial) {
			s.checkOrphan(field, hold, level, a)
			continue
		}
		count := func(a *AccountSnapshot, limit budget.Period) {
			bit := uint64(1) << (8*distance + int(limit))
			if hold.Sequence > a.Sequence || !hold.Open() && hold.EndedSeq <= a.Sequence || seen&bit != 0 {
				return
			}
			if seen == 0 {
				s.Open++
			}
			seen |= bit
			s.countAt(a, field, hold)
		}
		count(a, budget.NoPeriod)
		for _, limit := range s.limits[level].All() {
			if a := s.Accounts[AccountID{level, limit}]; hold.Debited(a.Serial) {
				count(a, limit)
			}
		}
	}
	if seen != 0 {
		s.seen[id] = seen
	}
}

// countAt adds a hold to those of an account.
func (s *Snapshot) countAt(a *AccountSnapshot, field string, hold Hold) {
	a.Count++
	if a.Sum += uint64(hold.Held); a.Sum < uint64(hold.Held) { //nolint:gosec // not negative
		a.Sum = math.MaxUint64
	}
	if a.Epochs != nil && (hold.Made >= a.Epochs.Start || len(a.Epochs.Kept) == 0) {
		a.Current += uint64(hold.Held) //nolint:gosec // not negative
	}
	first := &a.Earliest[1]
	if hold.Sequence <= a.Turn {
		first = &a.Earliest[0]
		a.Older++
	}
	if hold.Open() && hold.Deadline != 0 && (*first == 0 || hold.Deadline < *first) {
		*first = hold.Deadline
	}
	if s.KeepHolds {
		id, err := ReservationOf(hold.Tenant, field)
		if err == nil { // its field was checked
			a.Holds = append(a.Holds, HoldOf(id, hold))
		}
	}
}

// checkOrphan checks a hold of which the account of a level is missing, or has another
// serial. An account is deleted only without holds, so an open hold was made since then,
// and its account too. Serials grow.
func (s *Snapshot) checkOrphan(field string, hold Hold, level budget.TenantID, a *AccountSnapshot) {
	switch {
	case !hold.Open() || s.Tenant != "" || s.unreadable[AccountID{Tenant: level}]:
	case a == nil && hold.Sequence <= s.began:
		s.damage(OrphanedHold, field, AccountID{Tenant: hold.Tenant}, fmt.Sprintf("it holds %d microcents, but tenant %q has no account", hold.Held, level))
	case a != nil && (hold.Serial < a.Serial || hold.Sequence <= a.Sequence):
		s.damage(OrphanedHold, field, AccountID{Tenant: hold.Tenant}, fmt.Sprintf("it holds %d microcents of an account with serial %d, but tenant %q now has serial %d",
			hold.Held, hold.Serial, level, a.Serial))
	}
}

// checkUntimed records the open holds of a page that have a deadline but no timer.
func (s *Snapshot) checkUntimed(p page) {
	for _, field := range p.untimed {
		for i := 0; i < len(p.fields); i += 2 {
			if p.fields[i] != field {
				continue
			}
			hold, err := ParseHold(p.fields[i+1])
			if err == nil {
				s.damage(UntimedHold, field, AccountID{Tenant: hold.Tenant}, fmt.Sprintf("its deadline is %d, but it has no timer", hold.Deadline))
			}
		}
	}
}

// checkDue compares the first timer with the time before which the partition looks for
// none. A session's timer is not compared: a rebuild may move it.
func (s *Snapshot) checkDue(first string) {
	at, err := strconv.ParseInt(first, 10, 64)
	if err != nil || s.frozen || s.Control.Due != 0 && s.Control.Due <= at {
		return
	}
	s.damage(WrongDue, ControlField, AccountID{}, fmt.Sprintf("the first timer is due at %d, but the partition looks for none before %d (0 is never)", at, s.Control.Due))
}

// addOther checks a record that is neither an account nor a hold.
func (s *Snapshot) addOther(field, record string) {
	kind, rest := field[0], len(field)-1
	bad := func(damage DamageKind, format string, args ...any) {
		s.damage(damage, field, AccountID{}, fmt.Sprintf(format, args...))
	}
	switch {
	case field == HeaderField, field == ControlField: // each page shows them
	case kind == luascripts.FieldSession && rest == 8:
		if err := Session(record).Check(); err != nil {
			s.damage(DamagedSession, field, AccountID{}, err.Error())
		}
	case kind == luascripts.FieldReply && rest == 8:
		if len(record) < minReply || record[0] != WordApplied {
			bad(DamagedReply, "%d bytes that begin with %.8q", len(record), record)
		}
	case kind == luascripts.FieldEpoch:
		id, _, ok := EpochOfField(field)
		if !ok {
			bad(DamagedEpoch, "its field names no tenant")
			return
		}
		if _, err := ParseEpoch(record); err != nil {
			s.damage(DamagedEpoch, field, id, err.Error())
		}
		s.epochs[id] = append(s.epochs[id], field)
	case (kind == luascripts.FieldRing || kind == luascripts.FieldEndings) && rest == 6:
		if len(record) < 6+HoldFieldBytes || (len(record)-6)%HoldFieldBytes != 0 {
			bad(DamagedEndings, "%d bytes, want 6 and %d for each hold", len(record), HoldFieldBytes)
		}
	default:
		bad(UnknownField, "no node writes such a field; its record has %d bytes", len(record))
	}
}

// compare compares each account with its holds, once all of them were counted.
func (s *Snapshot) compare() {
	s.phase = snapshotDone
	if !s.Thorough {
		return
	}
	for id, a := range s.Accounts {
		field := id.Field()
		if !a.Balanced() {
			continue // its other terms mean nothing
		}
		if !a.Matches() {
			s.damage(WrongSum, field, id, a.MismatchText())
		}
		if text := a.deadlineText(); text != "" {
			s.damage(WrongDeadline, field, id, text)
		}
	}
	if s.planAgain(); len(s.again) > 0 {
		s.phase = rereadingAccounts
	}
}

// MismatchText describes how an account differs from its holds.
func (a *AccountSnapshot) MismatchText() string {
	reserved, text := int64(a.Reserved), fmt.Sprintf("reserved is %d", a.Reserved)
	if a.Epochs != nil {
		reserved += int64(a.Epochs.Ended)
		text += fmt.Sprintf(" (its open holds of this epoch sum up to %d), and %d in ended epochs", a.Current, a.Epochs.Ended)
	}
	text += fmt.Sprintf(", but its open holds sum up to %d", a.Sum)
	if a.Sum <= math.MaxInt64 {
		text += offBy(reserved - int64(a.Sum))
	}
	return text + fmt.Sprintf("; it counts %d open holds, and there are %d", a.Account.Holds, a.Count)
}
