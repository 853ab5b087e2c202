package store

import (
	"fmt"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// The words that refusals begin with. A reply of a batch that was applied begins with A.
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

// Reply reads the reply of an applied batch: first the codes, then what each code
// brings, in order. A reply that is too short fails; see Err.
type Reply struct {
	Time      int64 // of the partition, Unix ms
	Flags     byte
	Codes     string
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
	rest := text[8+operations:]
	r.remaining, r.values = rest[:8*accounts], reader{rest[8*accounts:]}
	return r, nil
}

// AppliedTime is the time of the reply of an applied batch; 0 if it is too short.
func AppliedTime(text string) int64 {
	if len(text) < 7 {
		return 0
	}
	return int64((&reader{text[1:]}).uint(6)) //nolint:gosec // 48 bits
}

// AppliedCode is the code of an operation in the reply of an applied batch; 0 if it is
// too short.
func AppliedCode(text string, operation int) byte {
	if at := minReply + operation; at < len(text) && text[0] == WordApplied {
		return text[at]
	}
	return 0
}

// Remaining is that of an account as the batch's first operation met it.
func (r *Reply) Remaining(account int) budget.Microcents {
	return (&reader{r.remaining[8*account:]}).amount()
}

// Amount is the next value.
func (r *Reply) Amount() budget.Microcents {
	if !r.has(8) {
		return 0
	}
	return r.values.amount()
}

// Known is what a lookup found: a hold's state, its amount, when it was made or ended,
// and its deadline.
type Known struct {
	State        byte
	Amount       budget.Microcents
	At, Deadline int64 // Unix ms
}

// Known is the next value, of a lookup.
func (r *Reply) Known() Known {
	if !r.has(21) {
		return Known{}
	}
	v := &r.values
	return Known{State: byte(v.uint(1)), Amount: v.amount(), At: int64(v.uint(6)), Deadline: int64(v.uint(6))} //nolint:gosec // as wide
}

// End returns the damaged field that the reply names, or an error if the reply was too
// short or too long.
func (r *Reply) End() (damaged string, err error) {
	if r.err == nil && r.Flags&luascripts.FlagDamageMet == 0 && r.values.rest != "" {
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

// Opened is the reply of open.
type Opened struct {
	Session Session
	Header  string
}

// ParseOpened reads what follows the word OPEN.
func ParseOpened(rest string) (Opened, error) {
	session, header, ok := cutSession(rest)
	if !ok {
		return Opened{}, fmt.Errorf("unreadable reply OPEN %.60q", rest)
	}
	return Opened{session, header}, nil
}

// Gap is a refusal: the session that Redis has for the node, and its stored reply.
type Gap struct {
	Session Session
	Reply   string
}

// ParseGap reads what follows the word GAP.
func ParseGap(rest string) (Gap, error) {
	session, reply, ok := cutSession(rest)
	if !ok {
		return Gap{}, fmt.Errorf("unreadable reply GAP %.60q", rest)
	}
	return Gap{session, reply}, nil
}

func cutSession(text string) (s Session, rest string, ok bool) {
	if text == "" || len(text) < 1+int(text[0]) {
		return "", "", false
	}
	s = Session(text[1 : 1+int(text[0])])
	return s, text[1+len(s):], s.Valid()
}

// CutWord cuts a refusal into its word and the rest.
func CutWord(reply string) (word, rest string) {
	word, rest, _ = strings.Cut(reply, " ")
	return word, rest
}
