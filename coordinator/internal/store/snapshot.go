package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// ErrBehind means that a snapshot cannot be finished: holds ended faster than they were
// read, or the partition returned to an earlier state. Begin again.
var ErrBehind = errors.New("the partition changes faster than it can be read")

// A Snapshot reads a partition page by page while batches are applied, and computes the
// reserved amount of each account at exactly the sequence at which the account was read.
// Send Args and pass the reply to Add, until Done.
//
// First it reads all accounts, then all holds, and with each page the holds that have
// ended since the previous page. A hold that was open when an account was read is seen:
// either it stays open until its page, or it ends and is among the ended ones. Every
// record has the sequences of creation and end, so each sighting of a hold shows whether
// the account's reserved included it.
//
// A partition that moves to another server is scanned with gaps, since a cursor has no
// meaning there: a finding counts only if a second snapshot shows it too.
type Snapshot struct {
	// Tenant limits the snapshot to one account, with the holds that it counts; "" means all.
	Tenant budget.TenantID
	// Thorough also checks the timers of holds, all other records, and at the end each
	// account again, with its ended epochs. Tenant must be "".
	Thorough bool
	// KeepHolds fills AccountSnapshot.Holds.
	KeepHolds bool
	// PageFields is the approximate number of fields that a page visits; 0 means a number
	// that costs Redis about a millisecond.
	PageFields int
	// Partitions and Index are those that the partition should have. They default to
	// those of the header; 0 partitions means any.
	Partitions, Index int

	// Accounts are the accounts that were read.
	Accounts map[AccountID]*AccountSnapshot
	// Open is the number of open holds, each at its account's sequence.
	Open int
	// Damages are the records that no node writes. Unnamed counts damaged holds by kind,
	// including the first MaxNamed, which are named.
	Damages []Damage
	Unnamed map[DamageKind]int
	// TimersWhole is false if the partition's timers must be rebuilt.
	TimersWhole bool
	Control     Control // of the last page

	header string
	cursor string
	ring   string // next record of settled holds
	timed  string // next record of expired holds
	phase  snapshotPhase
	began  uint64 // sequence of the first page
	frozen bool   // no batch is applied, since the control record is unreadable

	bySerial   map[uint64]AccountID
	unreadable map[AccountID]bool
	limits     map[budget.TenantID]budget.Periods // of the tenants that have limits among Accounts
	reported   map[reportKey]bool
	seen       map[[16]byte]uint64 // accounts at which a hold was counted, by its id: see count
	ended      []sighting          // ended holds seen before all accounts were read
	again      []rereading
	reread     map[string]string      // records of a page that reads accounts again
	epochs     map[AccountID][]string // fields of ended epochs that were found
	ringHead   uint64                 // next record of settled holds when the last hold was read
	endings    uint64                 // next record of expired holds at that time
}

type sighting struct {
	field string
	hold  Hold
}

type reportKey struct {
	kind  DamageKind
	field string
}

type snapshotPhase int

const (
	readingAccounts snapshotPhase = iota
	readingHolds
	readingEndings
	rereadingAccounts
	snapshotDone
)

// AccountSnapshot is an account at a sequence, with its holds that were open then.
type AccountSnapshot struct {
	Account
	Sequence uint64
	Sum      uint64 // of the open holds, saturated
	Current  uint64 // of those of the current epoch, if the account has a window
	Count    int
	Older    uint32        // number of them that the record should count as older
	Earliest [2]int64      // deadlines of the older and of the younger ones, 0 for none
	Holds    []budget.Hold // if KeepHolds is set
}

// Matches reports whether reserved and the number of holds agree with the holds, and with those
// of the current epoch.
func (a *AccountSnapshot) Matches() bool {
	reserved := uint64(a.Reserved) //nolint:gosec // checked here
	if a.Epochs != nil {
		if reserved != a.Current {
			return false
		}
		reserved += uint64(a.Epochs.Ended) //nolint:gosec // checked when it was read
	}
	return a.Reserved >= 0 && reserved == a.Sum && int(a.Account.Holds) == a.Count
}

// deadlineText describes how the deadlines or the number of older holds in the account's
// record are wrong; it is "" if they aren't.
func (a *AccountSnapshot) deadlineText() string {
	for i, bound := range []int64{a.Deadline, a.Young} {
		if earliest := a.Earliest[i]; earliest != 0 && (bound == 0 || bound > earliest) {
			return fmt.Sprintf("a hold is due at %d, but the account says that none is before %d (0 is never)", earliest, bound)
		}
	}
	if a.Matches() && a.Older != a.Account.Older {
		return fmt.Sprintf("it counts %d open holds up to sequence %d, and there are %d", a.Account.Older, a.Turn, a.Older)
	}
	return ""
}

// NewSnapshot begins a snapshot of a partition with this header, "" if it has none. keep
// sets KeepHolds.
func NewSnapshot(header string, tenant budget.TenantID, keep bool) *Snapshot {
	h, _ := ParseHeader(header) // an unreadable header sets no expectation
	return &Snapshot{
		Tenant: tenant, KeepHolds: keep, Partitions: h.Partitions, Index: h.Index,
		Accounts: make(map[AccountID]*AccountSnapshot), Unnamed: make(map[DamageKind]int), header: header,
		cursor: "0", ring: "-1", timed: "-1", bySerial: make(map[uint64]AccountID),
		unreadable: make(map[AccountID]bool), limits: make(map[budget.TenantID]budget.Periods),
		reported: make(map[reportKey]bool), seen: make(map[[16]byte]uint64), epochs: make(map[AccountID][]string),
	}
}

const (
	// pageFields is the usual number of fields of a page.
	pageFields = 500
	// rereadFields is about the number of fields that a page reads by name.
	rereadFields = 500
	// MaxNamed bounds the named damages of holds, for each kind.
	MaxNamed = 1000
)

// Args returns the arguments for the next page, after the keys.
func (s *Snapshot) Args() []any {
	pattern, fields := "", s.PageFields
	if fields == 0 {
		fields = pageFields
	}
	var named []string
	switch s.phase {
	case readingAccounts:
		switch {
		case s.Tenant != "":
			named = []string{AccountField(s.Tenant)}
		case s.Thorough:
			pattern = "[^h]*"
		default:
			pattern = "a*"
		}
	case readingHolds:
		pattern = "h*"
	case rereadingAccounts:
		_, named = s.nextAgain()
	case readingEndings, snapshotDone:
	}
	timers := "0"
	if s.Thorough {
		timers = "1"
	}
	args := []any{s.header, s.cursor, pattern, fields, s.ring, s.timed, string(s.Tenant), timers}
	for _, field := range named {
		args = append(args, field)
	}
	return args
}

// Done reports whether the snapshot is complete.
func (s *Snapshot) Done() bool { return s.phase == snapshotDone }

// Refusal is the reply of a partition that is gone or was recreated.
type Refusal string

func (r Refusal) Error() string { return "the partition answered " + strconv.Quote(string(r)) }

// page is a reply of the page script.
type page struct {
	control, cursor, ring, timed, whole, first string
	fields, untimed, ended                     []string
}

const pageWords = 10

func parsePage(reply []any) (p page, err error) {
	word := func(i int) string {
		text, ok := reply[i].(string)
		if !ok {
			err = fmt.Errorf("unreadable page: word %d is %T", i, reply[i])
		}
		return text
	}
	texts := func(i int) []string {
		list, ok := reply[i].([]any)
		all := make([]string, len(list))
		for j := range list {
			var isText bool
			all[j], isText = list[j].(string)
			ok = ok && isText
		}
		if !ok {
			err = fmt.Errorf("unreadable page: word %d is not a list of texts", i)
		}
		return all
	}
	if len(reply) == 0 {
		return p, Refusal("")
	}
	first := word(0)
	switch {
	case first == WordBehind:
		return p, ErrBehind
	case first != WordPage:
		return p, Refusal(first)
	case len(reply) != pageWords:
		return p, fmt.Errorf("unreadable page of %d words, want %d", len(reply), pageWords)
	}
	p = page{
		control: word(1), cursor: word(2), ring: word(3), timed: word(4), whole: word(5), first: word(6),
		fields: texts(7), untimed: texts(8), ended: texts(9),
	}
	if err == nil && (len(p.fields)%2 != 0 || len(p.ended)%2 != 0) {
		err = errors.New("unreadable page: a field without a record")
	}
	return p, err
}

// Add processes a page.
func (s *Snapshot) Add(reply []any) error {
	p, err := parsePage(reply)
	if err != nil {
		return err
	}
	if err := s.addControl(p.control); err != nil {
		return err
	}
	s.cursor, s.ring, s.timed, s.TimersWhole = p.cursor, p.ring, p.timed, p.whole == "1"
	for i := 0; i < len(p.fields); i += 2 {
		s.addField(p.fields[i], p.fields[i+1])
	}
	for i := 0; i < len(p.ended); i += 2 {
		s.addHold(p.ended[i], p.ended[i+1])
	}
	if s.Thorough {
		s.checkDue(p.first)
		s.checkUntimed(p)
	}
	if a := s.Accounts[AccountID{Tenant: s.Tenant}]; a != nil && s.Tenant != "" && a.Matches() {
		s.phase = snapshotDone // the one tenant has no more holds
	} else if s.cursor == "0" {
		s.turn()
	}
	return nil
}

// addControl processes the control record of a page, before the rest of the page.
func (s *Snapshot) addControl(record string) error {
	control, err := ParseControl(record)
	first := s.ring == "-1"
	if first {
		// No batch is applied without a control record, so the partition does not change.
		s.frozen = err != nil
	}
	if s.frozen != (err != nil) || control.Sequence < s.Control.Sequence && !s.frozen {
		return ErrBehind // it was damaged, repaired or restored since
	}
	if s.frozen {
		control.Sequence = math.MaxUint64
		if record == "" {
			err = fmt.Errorf("%w: it is missing or empty", ErrDamaged)
		}
		s.damage(DamagedControl, ControlField, AccountID{}, err.Error()+"; with it the partition's time, sequence and last serial are lost")
	}
	if first {
		s.began = control.Sequence
	}
	s.Control = control
	return nil
}

// turn begins the next phase.
func (s *Snapshot) turn() {
	switch s.phase {
	case readingAccounts:
		s.phase = readingHolds
		for _, e := range s.ended {
			s.count(e.field, e.hold)
		}
		s.ended = nil
		if s.Tenant != "" && s.Accounts[AccountID{Tenant: s.Tenant}] == nil {
			s.phase = snapshotDone
		}
	case readingHolds:
		s.phase, s.ringHead, s.endings = readingEndings, s.Control.RingHead, s.Control.Endings
		s.turn()
		return
	case readingEndings:
		// A hold that ended after the last page of holds was read while it was open.
		ring, _ := strconv.ParseUint(s.ring, 10, 64)
		timed, _ := strconv.ParseUint(s.timed, 10, 64)
		if ring >= s.ringHead && timed >= s.endings {
			s.compare()
		}
	case rereadingAccounts:
		s.endAgain(s.reread)
		if s.reread = nil; len(s.again) == 0 {
			s.phase = snapshotDone
		}
	case snapshotDone:
	}
}

// addField processes a field that was read by the scan or by name.
func (s *Snapshot) addField(field, record string) {
	switch {
	case field == "":
	case field[0] == luascripts.FieldHold:
		s.addHold(field, record)
	case s.phase == rereadingAccounts:
		if s.reread == nil {
			s.reread = make(map[string]string)
		}
		s.reread[field] = record
	case field[0] == luascripts.FieldAccount:
		s.addAccount(field, record)
	case s.Thorough:
		s.addOther(field, record)
	}
}
