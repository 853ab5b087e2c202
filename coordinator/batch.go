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
	digest   string
	args     []any // of the command, with room for what comes before ARGV
	// short: Redis answered OOM, so the same bytes go to the script that may
	// write past maxmemory.
	short bool
	// lost: an attempt ended without a reply, so the batch may have taken effect.
	lost bool
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

// Where a batch's arguments are, as in the header of batch.lua.
const (
	countArgument  = 0
	digestArgument = 5
	commandPrefix  = 5  // EVALSHA, the SHA, the number of keys, two keys
	indexBits      = 10 // of a reservation id: the operation's place in its batch
)

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
	var e encoder
	e.text("") // the count's place
	e.text(s.family)
	e.text(s.nodeText)
	e.text(s.applied.text)
	e.number(b.number)
	e.text("") // the digest's place
	e.text(clock)
	e.number(uint64(cfg.holdTTL.Milliseconds())) //nolint:gosec // validated: never negative
	named := 0
	for _, c := range b.calls {
		if c.names() {
			named++
		}
	}
	e.number(uint64(len(b.accounts)))
	e.number(uint64(named))
	for _, c := range b.calls {
		e.byte(c.kind)
	}
	e.end()
	for _, c := range b.calls {
		e.byte('0' + byte(slices.Index(b.accounts, c.tenant))) //nolint:gosec // below MaxAccounts
	}
	e.end()
	e.number(uint64(cfg.retention.Milliseconds())) //nolint:gosec // validated: never negative
	e.number(uint64(cfg.retained))                 //nolint:gosec // validated: never negative
	e.number(uint64(until))                        //nolint:gosec // a time
	e.number(uint64(cfg.maxHolds))                 //nolint:gosec // validated: never negative
	e.text(b.since)
	e.text(b.behind)
	for _, tenant := range b.accounts {
		e.text(layout.AccountField(tenant))
	}
	for _, c := range b.calls {
		if c.names() {
			e.hold(c.id)
		}
	}
	for _, c := range b.calls {
		e.operation(c)
	}
	b.args = e.finish()
	b.digest = e.digest
}

// encoder lays arguments end to end in one buffer, so that a batch costs a few
// allocations however many operations it has.
type encoder struct {
	buffer []byte
	ends   []int
	digest string
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

func (e *encoder) hold(id budget.ReservationID) {
	e.buffer = layout.AppendHoldField(e.buffer, id)
	e.end()
}

// finish cuts the buffer into arguments. They are pointers to strings, which an
// interface holds without an allocation each.
func (e *encoder) finish() []any {
	all := string(e.buffer)
	e.digest = layout.Incarnation(xxhash.Sum64String(all))
	texts := make([]string, len(e.ends))
	args := make([]any, commandPrefix+len(e.ends))
	start := 0
	for i, end := range e.ends {
		texts[i] = all[start:end]
		args[commandPrefix+i] = &texts[i]
		start = end
	}
	texts[countArgument] = strconv.Itoa(len(texts) - 1)
	texts[digestArgument] = e.digest
	return args
}

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
