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
	number   uint64
	calls    []*Call
	accounts []store.AccountID // of the calls' tenants and their ancestors, each followed by its limits
	nexts    []int16           // place of the account after each one, as the script walks them, or store.NoNext
	nested   bool              // an account has a next one
	limited  bool              // an account is that of a limit
	places   []uint8           // of each call's account in accounts
	byName   map[budget.TenantID]uint8
	known    map[budget.TenantID]budget.Periods // limits of tenants: the lane's
	args     []any                              // the command's, with room for those before ARGV
	mark     string
	encoder  store.Encoder
	answers  []Answer
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
	clear(b.accounts)
	clear(b.byName)
	if b.byName == nil {
		b.byName = make(map[budget.TenantID]uint8)
	}
	*b = Batch{
		number: number, calls: b.calls[:0], accounts: b.accounts[:0], nexts: b.nexts[:0], places: b.places[:0], byName: b.byName,
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
	limits := c.limits()
	if !known && len(b.accounts)+b.missing(c.tenant, limits) > luascripts.MaxAccounts || known && !b.has(place, limits) {
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
		place = b.addTenant(c.tenant, limits)
	}
	if c.limit != budget.NoPeriod {
		place = b.limitAt(place, c.limit)
	}
	b.calls, b.places = append(b.calls, c), append(b.places, place)
	return false
}

// missing returns the number of accounts that addTenant would add.
func (b *Batch) missing(tenant budget.TenantID, limits budget.Periods) (n int) {
	for ; tenant != ""; tenant, limits = tenant.Parent(), 0 {
		if _, known := b.byName[tenant]; known {
			return n // and so are its ancestors
		}
		n += 1 + (limits | b.known[tenant]).Len()
	}
	return n
}

// has reports whether the accounts of a tenant's limits follow its own.
func (b *Batch) has(place uint8, limits budget.Periods) bool {
	for at := int(place) + 1; limits != 0 && at < len(b.accounts) && b.accounts[at].Limit != budget.NoPeriod; at++ {
		limits = limits.Without(b.accounts[at].Limit)
	}
	return limits == 0
}

// limitAt returns the place of a tenant's limit, which the batch has.
func (b *Batch) limitAt(place uint8, limit budget.Period) uint8 {
	for b.accounts[place].Limit != limit {
		place++
	}
	return place
}

// addTenant adds a tenant's account, those of its limits, and those of its ancestors that are
// missing.
func (b *Batch) addTenant(tenant budget.TenantID, limits budget.Periods) (place uint8) {
	place = uint8(len(b.accounts)) //nolint:gosec // below MaxAccounts
	b.byName[tenant] = place
	b.accounts, b.nexts = append(b.accounts, store.AccountID{Tenant: tenant}), append(b.nexts, store.NoNext)
	if limits |= b.known[tenant]; limits != 0 {
		for limit := budget.Hour; limit <= budget.Last30Days; limit++ {
			if !limits.Has(limit) {
				continue
			}
			b.nexts[len(b.nexts)-1] = int16(len(b.nexts)) //nolint:gosec // as above
			b.accounts, b.nexts = append(b.accounts, store.AccountID{Tenant: tenant, Limit: limit}), append(b.nexts, store.NoNext)
		}
		b.limited, b.nested = true, true
	}
	last := len(b.nexts) - 1
	if parent := tenant.Parent(); parent != "" {
		at, known := b.byName[parent]
		if !known {
			at = b.addTenant(parent, 0)
		}
		b.nexts[last], b.nested = int16(at), true
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
	for i, id := range b.accounts {
		e.Account(id, int(b.nexts[i]))
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
			if b.nexts[b.places[i]] != store.NoNext {
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
