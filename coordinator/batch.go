package coordinator

import (
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// A batch is what one script call applies to one family. Once it is sent, its
// bytes never change: a repeat is recognised by its number and its digest.
type batch struct {
	number   uint64
	calls    []*call
	accounts []budget.TenantID
	args     []any  // of the command, with room for what comes before ARGV
	header   string // the arguments that batches in one call share, end to end
	mark     string // number and digest, as the session has them
	digest   string
	encoder  encoder
	answers  []answer
	// short: Redis answered OOM, so the same bytes go to the script that may
	// write past maxmemory.
	short bool
	// lost: an attempt ended without a reply, so the batch may have taken effect.
	lost bool
	left bool // with a command that was left behind, which may still read its memory
	// repair: it merges what Redis has lost, and no caller waits for it. since is the
	// last batch that Redis had when the repair began; behind is written behind the
	// digest, while more of it follows.
	repair bool
	since  string
	behind string
	// appliedAt is the family's time when it was applied, in milliseconds.
	appliedAt int64
	// refusals counts answers that no repeat is likely to change, such as a
	// missing command right.
	refusals int

	// For telemetry.
	began    time.Time
	attempts int
	span     trace.Span
	link     *trace.SpanContext
}

const (
	commandPrefix = 5  // EVALSHA, the SHA, the number of keys, two keys
	indexBits     = 10 // of a reservation id: the operation's place in its batch
	countBits     = 10 // of the script's counts: below the accounts', the holds to settle
)

// again makes a batch that was resolved ready for use, with its memory.
func (b *batch) again(number uint64) *batch {
	clear(b.calls)
	clear(b.accounts)
	*b = batch{
		number: number, calls: b.calls[:0], accounts: b.accounts[:0],
		args: b.args[:0], encoder: b.encoder, answers: b.answers[:0],
	}
	return b
}

// add claims a call for the batch, unless its caller has left. It reports that
// there is no room, and then the call stays as it is.
func (b *batch) add(c *call, node uint64) (full bool) {
	if len(b.calls) == luascripts.MaxOperations {
		return true
	}
	known := slices.Contains(b.accounts, c.tenant)
	if !known && len(b.accounts) == luascripts.MaxAccounts {
		return true
	}
	b.name(c, node)
	c.batch = b.link
	if !c.send() {
		return false
	}
	if !known {
		b.accounts = append(b.accounts, c.tenant)
	}
	b.calls = append(b.calls, c)
	return false
}

// name gives a reserve its reservation id, before the call is sent and its
// caller may read it: the node, the batch's number and the place in the batch,
// so that ids are unique by construction.
func (b *batch) name(c *call, node uint64) {
	if c.reserves() {
		place := uint64(len(b.calls))
		c.id = budget.NewReservationID(c.tenant, node, b.number<<indexBits|place)
	}
}

// unwanted reports that every caller has left, and that none of the operations
// is worth doing without one: only reserves and reads.
func (b *batch) unwanted() bool {
	for _, c := range b.calls {
		switch c.kind {
		case luascripts.KindReserve, luascripts.KindReserveTTL, luascripts.KindBalance, luascripts.KindRemaining, luascripts.KindLookup:
			if c.state.Load() != callLeftUnsure {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// encode fixes the bytes.
func (b *batch) encode(s session, clock string, until int64, cfg *config) {
	e := &b.encoder
	e.begin()
	e.text(s.nodeText)
	e.text(clock)
	e.number(uint64(cfg.holdTTL.Milliseconds()))   //nolint:gosec // validated: never negative
	e.number(uint64(cfg.retention.Milliseconds())) //nolint:gosec // validated: never negative
	e.number(uint64(cfg.retained))                 //nolint:gosec // validated: never negative
	e.number(uint64(cfg.maxHolds))                 //nolint:gosec // validated: never negative
	if b.repair {
		e.text(b.since)
		e.text(b.behind)
	}
	e.headerEnds()
	e.text(s.family)
	e.session(s.applied)
	e.mark(b.number)
	e.number(uint64(until)) //nolint:gosec // a time
	b.encodeCalls(e)
	e.finish(b)
}

func (b *batch) encodeCalls(e *encoder) {
	named := 0
	for _, c := range b.calls {
		if c.names() {
			named++
		}
	}
	e.number(uint64(len(b.accounts)<<countBits + named))
	for _, c := range b.calls {
		e.byte(c.kind)
	}
	if len(b.accounts) > 1 {
		for _, c := range b.calls {
			e.byte('0' + byte(b.account(c))) //nolint:gosec // below MaxAccounts
		}
	}
	e.end()
	for _, tenant := range b.accounts {
		e.account(tenant)
	}
	for _, c := range b.calls {
		if c.names() {
			e.hold(c.id)
		}
	}
	for _, c := range b.calls {
		e.operation(c)
	}
}

// encoder lays arguments end to end in one buffer, so that a batch costs a few
// allocations however many operations it has, and none of them twice.
type encoder struct {
	buffer []byte
	ends   []int
	texts  []argument
	count  []byte // the text of how many arguments follow the header
	header int    // arguments in it
	marked int    // where the digest's place in the buffer is
}

// An argument is a part of an encoder's buffer. A command has pointers to arguments,
// which an interface holds without an allocation each; a hook that prints them prints
// their text.
type argument []byte

// MarshalBinary returns what go-redis writes.
func (a *argument) MarshalBinary() ([]byte, error) { return *a, nil }

// MarshalText returns the text, for hooks that log as JSON.
func (a *argument) MarshalText() ([]byte, error) { return *a, nil }

func (a *argument) String() string { return string(*a) }

// digestDigits is room for the digest, until everything is there to be digested.
const digestDigits = "----------------"

func (e *encoder) begin() {
	e.buffer, e.ends = e.buffer[:0], e.ends[:0]
}

func (e *encoder) byte(c byte) { e.buffer = append(e.buffer, c) }
func (e *encoder) end()        { e.ends = append(e.ends, len(e.buffer)) }

func (e *encoder) text(s string) {
	e.buffer = append(e.buffer, s...)
	e.end()
}

func (e *encoder) number(n uint64) {
	e.buffer = strconv.AppendUint(e.buffer, n, 10)
	e.end()
}

func (e *encoder) session(last applied) {
	e.buffer = append(append(append(e.buffer, last.mark...), ' '), last.when...)
	e.end()
}

func (e *encoder) account(tenant budget.TenantID) {
	e.buffer = layout.AppendAccountField(e.buffer, tenant)
	e.end()
}

func (e *encoder) hold(id budget.ReservationID) {
	e.buffer = layout.AppendHoldField(e.buffer, id)
	e.end()
}

// headerEnds is called behind what all batches of a call share. It leaves a place for
// the number of arguments that follow.
func (e *encoder) headerEnds() {
	e.header = len(e.ends)
	e.end()
}

func (e *encoder) mark(number uint64) {
	e.buffer = strconv.AppendUint(e.buffer, number, 10)
	e.byte(' ')
	e.marked = len(e.buffer)
	e.text(digestDigits)
}

// finish cuts the buffer into arguments. The session's text and what batches compare
// outlive the buffer, so they are of a copy.
func (e *encoder) finish(b *batch) {
	layout.PutHex(e.buffer[e.marked:], xxhash.Sum64(e.buffer))
	all := string(e.buffer)
	e.texts = e.texts[:0]
	start := 0
	for _, end := range e.ends {
		e.texts = append(e.texts, e.buffer[start:end:end])
		start = end
	}
	e.count = strconv.AppendInt(e.count[:0], int64(len(e.texts)-e.header-1), 10)
	e.texts[e.header] = e.count
	b.args = slices.Grow(b.args[:0], commandPrefix+len(e.texts))[:commandPrefix]
	for i := range e.texts {
		b.args = append(b.args, &e.texts[i])
	}
	b.header = all[:e.ends[e.header]]
	marked := e.header + markArgument
	b.mark = all[e.ends[marked-1]:e.ends[marked]]
	b.digest = b.mark[len(b.mark)-len(digestDigits):]
}

// markArgument is where number and digest are, behind the number of arguments.
const markArgument = 3

func (e *encoder) operation(c *call) {
	switch c.kind {
	case luascripts.KindRelease, luascripts.KindBalance, luascripts.KindRemaining, luascripts.KindLookup, luascripts.KindDelete:
	case luascripts.KindMerge:
		e.text(c.merge)
	case luascripts.KindReserve:
		e.number(uint64(c.amount)) //nolint:gosec // validated: above 0
		e.hold(c.id)
	case luascripts.KindReserveTTL:
		e.number(uint64(c.amount)) //nolint:gosec // validated: above 0
		e.hold(c.id)
		e.number(uint64(c.holdTTL.Milliseconds())) //nolint:gosec // validated: never negative
	default:
		e.number(uint64(c.amount)) //nolint:gosec // validated: never negative
	}
}
