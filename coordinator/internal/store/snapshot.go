package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// ErrBehind means that holds ended faster than a snapshot was read.
var ErrBehind = errors.New("holds end faster than they can be read")

// A Snapshot reads a partition page by page while batches go on, and computes what was
// reserved of each account at the very sequence at which the account was read. Send
// Args, give the reply to Add, until Done.
//
// First it reads all accounts, then all holds, and with each page the holds that have
// ended since the page before. A hold that was open when an account was read is seen:
// either it stays open until its page, or it ends and is among those that have ended.
// Every record has the sequences of creation and end, so each sighting of a hold says
// whether the account's reserved contained it.
type Snapshot struct {
	// Tenant limits the snapshot to one account; "" is all.
	Tenant budget.TenantID
	// Accounts are those that were read, by tenant.
	Accounts map[budget.TenantID]*AccountSnapshot
	// Damages are the records that cannot be read and the holds without an account.
	Damages []Damage
	// TimersWhole is false if the partition's timers have to be rebuilt.
	TimersWhole bool
	Control     Control // at the last page

	header   string
	began    uint64 // sequence of the first page
	cursor   string
	ring     string
	timed    string
	phase    snapshotPhase
	bySerial map[uint64]*AccountSnapshot
	seen     map[string]struct{} // 16 bytes of ids
	ended    []ending            // before all accounts were read
	keep     bool                // Holds are wanted
}

type ending struct {
	field string
	hold  Hold
}

type snapshotPhase int

const (
	readingAccounts snapshotPhase = iota
	readingHolds
	readingEndings
	snapshotDone
)

// AccountSnapshot is an account at a sequence, and the sum of its holds then.
type AccountSnapshot struct {
	Account
	Sequence uint64
	Sum      uint64 // of the holds that were open
	Count    int
	Holds    []budget.Hold // if they were asked for
}

// Matches reports whether reserved and the count of holds are those of the holds.
func (a *AccountSnapshot) Matches() bool {
	return uint64(a.Reserved) == a.Sum && int(a.Account.Holds) == a.Count //nolint:gosec // reserved is not negative
}

// Damage is a record that should not be as it is.
type Damage struct {
	Field string
	What  string
}

// NewSnapshot begins a snapshot of a partition. With keep the holds themselves are kept.
func NewSnapshot(header string, tenant budget.TenantID, keep bool) *Snapshot {
	return &Snapshot{
		Tenant: tenant, Accounts: make(map[budget.TenantID]*AccountSnapshot), header: header, keep: keep,
		cursor: "0", ring: "-1", timed: "-1", bySerial: make(map[uint64]*AccountSnapshot), seen: make(map[string]struct{}),
	}
}

// pageFields is about how many fields a page looks at, some 0.5 ms of Redis.
const pageFields = "1000"

// Args are the arguments of the next page, after the keys.
func (s *Snapshot) Args() []any {
	pattern := ""
	switch {
	case s.phase == readingAccounts && s.Tenant != "":
		pattern = QuotePattern(AccountField(s.Tenant))
	case s.phase == readingAccounts:
		pattern = "a*"
	case s.phase == readingHolds:
		pattern = "h*"
	}
	return []any{s.header, s.cursor, pattern, pageFields, s.ring, s.timed}
}

// Done reports whether everything was read.
func (s *Snapshot) Done() bool { return s.phase == snapshotDone }

// Refusal is a page's reply that is no page: a partition that is gone or another one.
type Refusal string

func (r Refusal) Error() string { return "the partition answered " + strconv.Quote(string(r)) }

// Add takes a page.
func (s *Snapshot) Add(reply []any) error {
	words := make([]string, len(reply))
	for i, word := range reply {
		words[i], _ = word.(string)
	}
	if len(words) == 1 && words[0] == WordBehind {
		return ErrBehind
	}
	if len(words) < 7 || words[0] != WordPage {
		return Refusal(strings.Join(words[:min(len(words), 1)], " "))
	}
	control, err := ParseControl(words[1])
	fields, errCount := strconv.Atoi(words[6])
	if err = errors.Join(err, errCount); err != nil || len(words) < 7+2*fields || len(words)%2 == 0 {
		return fmt.Errorf("unreadable page of %d words: %w", len(words), err)
	}
	if s.ring == "-1" {
		s.began = control.Sequence
	}
	s.Control, s.cursor, s.ring, s.timed, s.TimersWhole = control, words[2], words[3], words[4], words[5] == "1"
	page, endings := words[7:7+2*fields], words[7+2*fields:]
	for i := 0; i < len(page); i += 2 {
		if s.phase == readingAccounts {
			s.addAccount(page[i], page[i+1], control.Sequence)
		} else {
			s.addHold(page[i], page[i+1])
		}
	}
	for i := 0; i < len(endings); i += 2 {
		s.addHold(endings[i], endings[i+1])
	}
	if s.cursor == "0" {
		s.turn()
	}
	return nil
}

// turn begins the next phase.
func (s *Snapshot) turn() {
	if s.phase == readingHolds || s.phase == readingEndings {
		s.phase = readingEndings
		if s.ring == strconv.FormatUint(s.Control.RingHead, 10) && s.timed == strconv.FormatUint(s.Control.Endings, 10) {
			s.phase = snapshotDone
		}
		return
	}
	s.phase = readingHolds
	if s.Tenant != "" && len(s.Accounts) == 0 {
		s.phase = snapshotDone
	}
	for _, e := range s.ended {
		s.count(e.field, e.hold)
	}
	s.ended = nil
}

func (s *Snapshot) damage(field, what string) {
	s.Damages = append(s.Damages, Damage{field, what})
}

func (s *Snapshot) addAccount(field, record string, sequence uint64) {
	tenant := budget.TenantID(field[1:])
	if s.Accounts[tenant] != nil {
		return // a page may repeat a field
	}
	account, ok, err := ParseAccount(record)
	if err != nil {
		s.damage(field, err.Error())
		return
	}
	if !ok {
		return
	}
	a := &AccountSnapshot{Account: account, Sequence: sequence}
	s.Accounts[tenant] = a
	if other := s.bySerial[account.Serial]; other != nil {
		s.damage(field, fmt.Sprintf("serial %d is another account's too", account.Serial))
	}
	s.bySerial[account.Serial] = a
}

func (s *Snapshot) addHold(field, record string) {
	if record == "" || record[0] != luascripts.HoldOpen && s.phase == readingHolds && s.skips(record) {
		return
	}
	hold, err := ParseHold(record)
	if err != nil || len(field) != HoldFieldBytes {
		if s.Tenant == "" {
			s.damage(field, fmt.Sprint(err))
		}
		return
	}
	if s.Tenant != "" && hold.Tenant != s.Tenant {
		return
	}
	if s.phase == readingAccounts {
		s.ended = append(s.ended, ending{field, hold})
		return
	}
	s.count(field, hold)
}

// skips reports whether a tombstone ended before the snapshot began.
func (s *Snapshot) skips(record string) bool {
	return len(record) >= luascripts.TombstoneBytes && (&reader{record[33:]}).uint(6) <= s.began
}

func (s *Snapshot) count(field string, hold Hold) {
	a := s.bySerial[hold.Serial]
	if a == nil {
		if hold.Open() && hold.Sequence <= s.began {
			s.once(field, func() {
				s.damage(field, fmt.Sprintf("open hold of %d microcents of tenant %q, whose account was deleted", hold.Held, hold.Tenant))
			})
		}
		return
	}
	if hold.Sequence > a.Sequence || !hold.Open() && hold.EndedSeq <= a.Sequence {
		return
	}
	s.once(field, func() {
		a.Sum += uint64(hold.Held) //nolint:gosec // not negative
		a.Count++
		if s.keep {
			s.keepHold(a, field, hold)
		}
	})
}

func (s *Snapshot) once(field string, do func()) {
	id := field[1:]
	if _, known := s.seen[id]; !known {
		s.seen[id] = struct{}{}
		do()
	}
}

func (s *Snapshot) keepHold(a *AccountSnapshot, field string, hold Hold) {
	id, err := ReservationOf(hold.Tenant, field)
	if err != nil {
		s.damage(field, err.Error())
		return
	}
	a.Holds = append(a.Holds, HoldOf(id, hold))
}
