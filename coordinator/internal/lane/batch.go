package lane

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A Batch holds the operations that one script call applies to one partition. Once it is
// sent, its bytes never change: a repeat is recognised by its number and its digest.
type Batch struct {
	number  uint64
	calls   []*Call
	tenants []budget.TenantID // of the accounts: those of the calls and their ancestors
	parents []int16           // place of each account's parent, or store.NoParent
	nested  bool              // an account has a parent
	places  []uint8           // of each call's account in tenants
	byName  map[budget.TenantID]uint8
	args    []any // the command's, with room for those before ARGV
	mark    string
	encoder store.Encoder
	answers []Answer
	// crossings are the thresholds that the batch crossed.
	crossings []budget.Crossing
	// lowMemory is set once Redis replied OOM: the same bytes then go to the script that
	// may write past maxmemory.
	lowMemory bool
	lost      bool // an attempt without a reply may have taken effect
	// repair marks a batch of merges. since is the last batch before the repair, and more
	// is set if further merges follow.
	repair    bool
	since     uint64
	more      bool
	appliedAt int64 // partition time, Unix ms
	shared    bool  // a command that was given up may still read its memory
	rejected  int   // number of replies that a repeat is unlikely to change

	// For the observer. Attempts is the number of failed attempts.
	Began    time.Time
	Attempts int
	Span     any // of the batch
	Trace    any // links the calls to the batch
}

// Size returns the number of operations.
func (b *Batch) Size() int { return len(b.calls) }

// Result is the outcome of a batch.
type Result string

// The results of batches.
const (
	Applied Result = "applied"
	Unsent  Result = "unsent"  // its bytes were never sent; its calls are queued again
	Refused Result = "refused" // it took no effect
	Unknown Result = "unknown" // whether it took effect can no longer be determined
	Lost    Result = "lost"    // Redis has lost earlier batches
)

// commandPrefix is the number of arguments before ARGV: EVALSHA, the SHA, the number of
// keys and two keys.
const commandPrefix = 5

// reset prepares a resolved batch for reuse, keeping its memory.
func (b *Batch) reset(number uint64) *Batch {
	clear(b.calls)
	clear(b.tenants)
	clear(b.byName)
	if b.byName == nil {
		b.byName = make(map[budget.TenantID]uint8)
	}
	*b = Batch{
		number: number, calls: b.calls[:0], tenants: b.tenants[:0], parents: b.parents[:0], places: b.places[:0], byName: b.byName,
		args: b.args[:0], encoder: b.encoder, answers: b.answers[:0],
	}
	return b
}

// add claims a call for the batch, or drops it if its caller has given up. full reports
// that the batch has no room; the call is then unchanged.
func (b *Batch) add(c *Call, node uint64) (full bool) {
	if len(b.calls) == luascripts.MaxOperations {
		return true
	}
	place, known := b.byName[c.tenant]
	if !known && len(b.tenants)+b.missing(c.tenant) > luascripts.MaxAccounts {
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
		place = b.addAccount(c.tenant)
	}
	b.calls, b.places = append(b.calls, c), append(b.places, place)
	return false
}

// missing returns the number of a tenant's levels that aren't among the accounts.
func (b *Batch) missing(tenant budget.TenantID) (n int) {
	for ; tenant != ""; tenant = tenant.Parent() {
		if _, known := b.byName[tenant]; known {
			return n // and so are its ancestors
		}
		n++
	}
	return n
}

// addAccount adds an account, and those of its ancestors that are missing.
func (b *Batch) addAccount(tenant budget.TenantID) (place uint8) {
	place = uint8(len(b.tenants)) //nolint:gosec // below MaxAccounts
	b.tenants, b.parents = append(b.tenants, tenant), append(b.parents, store.NoParent)
	b.byName[tenant] = place
	if parent := tenant.Parent(); parent != "" {
		at, known := b.byName[parent]
		if !known {
			at = b.addAccount(parent)
		}
		b.parents[place], b.nested = int16(at), true
	}
	return place
}

// abandoned reports whether every caller has given up and every operation is optional.
func (b *Batch) abandoned() bool {
	for _, c := range b.calls {
		if !c.properties().optional || c.state.Load() != callAbandonedSent {
			return false
		}
	}
	return true
}

// encode fixes the batch's bytes.
func (b *Batch) encode(env *store.Envelope) {
	e := &b.encoder
	e.Begin()
	for i, tenant := range b.tenants {
		e.Account(tenant, int(b.parents[i]))
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
		if p.configures {
			e.Change(c.change)
		}
		switch c.kind {
		case luascripts.KindReserve:
			e.NewHold(c.id)
		case luascripts.KindReserveTTL:
			e.NewHold(c.id)
			e.Time(c.holdTTL.Milliseconds())
		case luascripts.KindEpoch:
			e.Time(c.at)
		case luascripts.KindRenew:
			e.Renewal(&c.renewal.window, c.renewal.mark, &c.renewal.Renewal)
		case luascripts.KindMerge:
			e.State(c.merged.state)
			e.Amount(c.merged.amount)
			e.Time(c.merged.at)
			e.Time(c.merged.until)
			if b.parents[b.places[i]] != store.NoParent {
				e.Levels(c.merged.levels)
			}
		}
	}
	if cap(b.args) < commandPrefix {
		b.args = make([]any, 0, 32)
	}
	env.Number, env.Repair, env.Since, env.More = b.number, b.repair, b.since, b.more
	b.mark, b.args = e.Finish(env, b.args[:commandPrefix])
}
