package lane

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A Batch is what one script call applies to one partition. Once it is sent, its bytes
// never change: a repeat is recognised by its number and its digest.
type Batch struct {
	number  uint64
	calls   []*Call
	tenants []budget.TenantID // of the accounts
	places  []uint8           // of each call's account in tenants
	byName  map[budget.TenantID]uint8
	args    []any // of the command, with room for what comes before ARGV
	mark    string
	encoder store.Encoder
	answers []Answer
	// lowMemory: Redis answered OOM, so the same bytes go to the script that may write
	// past maxmemory.
	lowMemory bool
	lost      bool // an attempt ended without a reply, so it may have taken effect
	// repair: it merges what Redis has lost. since is the last batch before the repair,
	// and more says that more of it follows.
	repair    bool
	since     uint64
	more      bool
	appliedAt int64 // partition time, Unix ms
	shared    bool  // a command that was given up may still read its memory
	rejected  int   // replies that no repeat is likely to change

	// For the observer: what BatchSent noted, and the commands that carried the batch.
	Began    time.Time
	Attempts int
	Span     any // of the batch
	Trace    any // that its calls link to
}

// Size is the number of operations.
func (b *Batch) Size() int { return len(b.calls) }

// Result is the way in which a batch ended.
type Result string

// The results of batches.
const (
	Applied Result = "applied"
	Unsent  Result = "unsent"  // its bytes never left; its calls are queued again
	Refused Result = "refused" // it took no effect
	Unknown Result = "unknown" // whether it took effect can't be determined any more
	Lost    Result = "lost"    // Redis has lost earlier batches
)

// commandPrefix is the number of arguments before ARGV: EVALSHA, the SHA, the number of
// keys and two keys.
const commandPrefix = 5

// reset makes a batch that was resolved ready for use, with its memory.
func (b *Batch) reset(number uint64) *Batch {
	clear(b.calls)
	clear(b.tenants)
	clear(b.byName)
	if b.byName == nil {
		b.byName = make(map[budget.TenantID]uint8)
	}
	*b = Batch{
		number: number, calls: b.calls[:0], tenants: b.tenants[:0], places: b.places[:0], byName: b.byName,
		args: b.args[:0], encoder: b.encoder, answers: b.answers[:0],
	}
	return b
}

// add claims a call for the batch; it drops one whose caller has given up. full reports
// that there is no room, and then the call stays as it is.
func (b *Batch) add(c *Call, node uint64) (full bool) {
	if len(b.calls) == luascripts.MaxOperations {
		return true
	}
	place, known := b.byName[c.tenant]
	if !known && len(b.tenants) == luascripts.MaxAccounts {
		return true
	}
	if c.properties().makes {
		c.id = store.NewID(c.tenant, node, b.number, len(b.calls))
	}
	c.trace = b.Trace
	if !c.send() {
		return false
	}
	if !known {
		place = uint8(len(b.tenants)) //nolint:gosec // below MaxAccounts
		b.tenants = append(b.tenants, c.tenant)
		b.byName[c.tenant] = place
	}
	b.calls, b.places = append(b.calls, c), append(b.places, place)
	return false
}

// abandoned reports that every caller has given up, and that none of the operations
// need happen without one.
func (b *Batch) abandoned() bool {
	for _, c := range b.calls {
		if !c.properties().optional || c.state.Load() != callAbandonedSent {
			return false
		}
	}
	return true
}

// encode fixes the bytes.
func (b *Batch) encode(env *store.Envelope) {
	e := &b.encoder
	e.Begin()
	for _, tenant := range b.tenants {
		e.Account(tenant)
	}
	for i, c := range b.calls {
		e.Operation(c.kind, int(b.places[i]))
		p := c.properties()
		if p.names {
			e.NamedHold(c.id)
		}
		if p.amount {
			e.Amount(c.amount)
		}
		switch c.kind {
		case luascripts.KindReserve:
			e.NewHold(c.id)
		case luascripts.KindReserveTTL:
			e.NewHold(c.id)
			e.Time(c.holdTTL.Milliseconds())
		case luascripts.KindMerge:
			e.State(c.merged.state)
			e.Amount(c.merged.amount)
			e.Time(c.merged.at)
			e.Time(c.merged.until)
		}
	}
	if cap(b.args) < commandPrefix {
		b.args = make([]any, 0, 32)
	}
	env.Number, env.Repair, env.Since, env.More = b.number, b.repair, b.since, b.more
	b.mark, b.args = e.Finish(env, b.args[:commandPrefix])
}
