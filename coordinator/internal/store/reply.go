package store

import (
	"fmt"
	"math"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// The words that begin a refusal. The reply to a batch that was applied begins with A.
const (
	WordApplied     = 'A'
	WordNoPartition = "NOPARTITION"
	WordLayout      = "LAYOUT"
	WordPartitions  = "PARTITIONS"
	WordIncarnation = "INCARNATION"
	WordNoSession   = "NOSESSION"
	WordCloned      = "CLONED"
	WordStale       = "STALE"
	WordGap         = "GAP"
	WordExpired     = "EXPIRED"
	WordCorrupt     = "CORRUPT"
	WordOpen        = "OPEN"
	WordClosed      = "CLOSED"
	WordNext        = "NEXT"
	WordDone        = "DONE"
	WordAgain       = "AGAIN"
	WordPage        = "PAGE"
	WordBehind      = "BEHIND"
)

// Reply reads the reply to an applied batch: the codes, then the values of each code, in
// order. If the reply is too short, End returns an error.
type Reply struct {
	Time      int64 // partition time, Unix ms
	Flags     byte
	Codes     string
	Lacking   []Lacking     // accounts with limits that the batch lacks
	Windows   []WindowAhead // of the accounts that have one
	late      []lateSettle
	remaining string // of the accounts, 8 bytes each
	values    reader
	err       error
}

// minReply is the length of the reply to an empty batch: the word, time and flags.
const minReply = 8

// ParseReply reads the reply to a batch of n operations on m accounts.
func ParseReply(text string, operations, accounts int) (Reply, error) {
	if len(text) < minReply+operations+8*accounts || text[0] != WordApplied {
		return Reply{}, fmt.Errorf("unreadable reply %.60q to %d operations on %d accounts", text, operations, accounts)
	}
	r := Reply{Time: AppliedTime(text), Flags: text[7], Codes: text[8 : 8+operations]}
	r.values = reader{text[8+operations:]}
	if r.Flags&luascripts.FlagLimits != 0 && r.has(1) {
		for range r.values.uint(1) {
			if !r.has(2) {
				break
			}
			lacking := Lacking{int(r.values.uint(1)) - 1, budget.Periods(r.values.uint(1))} //nolint:gosec // 8 bits
			if lacking.Limits >= 1<<luascripts.MaxPeriod {                                  // a node that can't bring them would repeat its batch forever
				r.err = fmt.Errorf("unreadable reply: limits of unknown periods %08b", lacking.Limits)
			}
			r.Lacking = append(r.Lacking, lacking)
		}
	}
	if r.Flags&luascripts.FlagWindows != 0 {
		r.windows()
	}
	if r.has(8 * accounts) {
		r.remaining = r.values.text(8 * accounts)
	}
	return r, r.err
}

// AppliedTime returns the time in the reply to an applied batch, or 0 if it is too short.
func AppliedTime(text string) int64 {
	if len(text) < 7 {
		return 0
	}
	return int64((&reader{text[1:]}).uint(6)) //nolint:gosec // 48 bits
}

// AppliedFlags returns the flags in the reply to an applied batch.
func AppliedFlags(text string) byte { return text[minReply-1] }

// AppliedCodes returns the codes in the reply to an applied batch of n operations.
func AppliedCodes(text string, n int) string { return text[minReply : minReply+n] }

// AppliedCode returns the code of an operation in the reply to an applied batch, or 0 if
// it is too short.
func AppliedCode(text string, operation int) byte {
	if at := minReply + operation; at < len(text) && text[0] == WordApplied {
		return text[at]
	}
	return 0
}

// Lacking is an account with a limit that the batch lacks, and the periods of its limits.
type Lacking struct {
	Account int
	Limits  budget.Periods
}

// NoAccount is the remaining of an account that does not exist, in the reply to a batch
// with parents.
const NoAccount budget.Microcents = math.MinInt64

// Remaining returns an account's remaining before the batch's first operation on it.
func (r *Reply) Remaining(account int) budget.Microcents {
	return (&reader{r.remaining[8*account:]}).amount()
}

// Amount returns the next value, an amount.
func (r *Reply) Amount() budget.Microcents {
	if !r.has(8) {
		return 0
	}
	return r.values.amount()
}

// Count returns the next value, a number or the place of an account.
func (r *Reply) Count() int {
	if !r.has(1) {
		return 0
	}
	return int(r.values.uint(1)) //nolint:gosec // 8 bits
}

// Levels returns the next value, a set of levels.
func (r *Reply) Levels() byte {
	if !r.has(1) {
		return 0
	}
	return byte(r.values.uint(1)) //nolint:gosec // as wide
}

// Places returns the next value, a set of accounts: bit 0 is the operation's, bit 1 the next
// one, and so on. It is wider if the batch has accounts of limits.
func (r *Reply) Places(limited bool) uint64 {
	width := 1
	if limited {
		width = 6 // 6 levels of at most 8 accounts
	}
	if !r.has(width) {
		return 0
	}
	return r.values.uint(width)
}

// Known is the result of a lookup: a hold's state, its amount, the time when it was made
// or ended, and its deadline.
type Known struct {
	State        byte
	Amount       budget.Microcents
	At, Deadline int64 // Unix ms
}

// Known returns the next value, the result of a lookup.
func (r *Reply) Known() Known {
	if !r.has(21) {
		return Known{}
	}
	v := &r.values
	return Known{State: byte(v.uint(1)), Amount: v.amount(), At: int64(v.uint(6)), Deadline: int64(v.uint(6))} //nolint:gosec // as wide
}

// End returns the damaged field that the reply names, if any, or an error if the reply
// was too short or too long.
func (r *Reply) End() (damaged string, err error) {
	if r.err == nil && r.Flags&luascripts.FlagDamageFound == 0 && r.values.rest != "" {
		r.err = fmt.Errorf("unreadable reply: %d bytes too many after codes %.60q", len(r.values.rest), r.Codes)
	}
	return r.values.rest, r.err
}

func (r *Reply) has(bytes int) bool {
	if len(r.values.rest) >= bytes {
		return true
	}
	if r.err == nil {
		r.err = fmt.Errorf("unreadable reply: too short after codes %.60q", r.Codes)
	}
	return false
}

// Opened is the reply to OPEN.
type Opened struct {
	Session Session
	Header  string
}

// ParseOpened reads the reply after the word OPEN.
func ParseOpened(rest string) (Opened, error) {
	session, header, ok := cutSession(rest)
	if !ok {
		return Opened{}, fmt.Errorf("unreadable reply OPEN %.60q", rest)
	}
	return Opened{session, header}, nil
}

// Gap is a refusal with the session that Redis has for the node, and its stored reply.
type Gap struct {
	Session Session
	Reply   string
}

// ParseGap reads the reply after the word GAP.
func ParseGap(rest string) (Gap, error) {
	session, reply, ok := cutSession(rest)
	if !ok {
		return Gap{}, fmt.Errorf("unreadable reply GAP %.60q", rest)
	}
	return Gap{session, reply}, nil
}

func cutSession(text string) (s Session, rest string, ok bool) {
	if len(text) < 2 {
		return "", "", false
	}
	r := reader{text}
	length := int(r.uint(2)) //nolint:gosec // 16 bits
	if len(r.rest) < length {
		return "", "", false
	}
	s = Session(r.rest[:length])
	return s, r.rest[length:], s.Valid()
}

// CutWord cuts a refusal into its word and the rest.
func CutWord(reply string) (word, rest string) {
	word, rest, _ = strings.Cut(reply, " ")
	return word, rest
}
