package store

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Config is the first argument of each batch of a node.
type Config struct {
	HoldTTL   int64 // ms, 0 for none
	Retention int64 // of tombstones, ms
	Ring      int   // settled holds that are remembered
	MaxHolds  int   // open holds of an account, 0 for any number
}

// Text returns the argument for a node.
func (c Config) Text(node uint64) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 28), node)
	b = appendUint(b, uint64(c.HoldTTL), 6)             //nolint:gosec // validated: not negative
	b = appendUint(b, uint64(c.Retention), 6)           //nolint:gosec // validated: not negative
	b = appendUint(b, uint64(c.Ring), 4)                //nolint:gosec // validated: not negative
	return string(appendUint(b, uint64(c.MaxHolds), 4)) //nolint:gosec // validated: not negative
}

// Envelope is the part of a batch other than its operations.
type Envelope struct {
	Config     string // see Config.Text
	Clock      string // Unix ms in decimal, or "" for the server's
	Header     string
	Session    Session // the node's view of it
	Number     uint64
	Seed       uint64 // of the digest, 64 random bits: equal batches of a node's clones differ
	ValidUntil int64  // partition time
	// For a batch of merges: Since is the last batch before the repair, More whether
	// others follow.
	Repair bool
	Since  uint64
	More   bool
}

// Encoder lays out the arguments of a batch end to end in one buffer, so that a batch
// costs a few allocations however many operations it has. Use Begin, then Operation for
// each, then Finish. Its memory is reused.
type Encoder struct {
	kinds, places, arguments []byte
	fields                   []byte // of accounts
	fieldEnds                []int
	nexts                    []byte // of accounts, the places of the next ones from 1 on, 0 for none
	nested                   bool   // an account has a next one
	features                 byte
	named                    []byte // fields of named holds, HoldFieldBytes each
	buffer                   []byte
	ends                     []int
	texts                    []Argument
	hash                     xxhash.Digest
}

// An Argument is a part of an encoder's buffer. Commands use pointers to arguments, which
// an interface holds without an allocation for each.
type Argument []byte

// MarshalBinary returns the bytes that go-redis writes.
func (a *Argument) MarshalBinary() ([]byte, error) { return *a, nil }

// MarshalText returns the argument, quoted if it is binary: hooks log commands.
func (a *Argument) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String returns the same as MarshalText, for hooks that print.
func (a *Argument) String() string {
	text := string(*a)
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// Begin makes the encoder ready for a batch.
func (e *Encoder) Begin() {
	e.kinds, e.places, e.arguments = e.kinds[:0], e.places[:0], e.arguments[:0]
	e.fields, e.fieldEnds, e.named = e.fields[:0], e.fieldEnds[:0], e.named[:0]
	e.nexts, e.nested, e.features = e.nexts[:0], false, 0
}

// NoNext is the place of the account after the last one.
const NoNext = -1

// Account adds an account; operations refer to it by its place, from 0 on. next is the place
// of the account that follows it in those of the levels, or NoNext.
func (e *Encoder) Account(id AccountID, next int) {
	e.fields = id.append(append(e.fields, luascripts.FieldAccount))
	e.fieldEnds = append(e.fieldEnds, len(e.fields))
	e.nexts = append(e.nexts, byte(next+1)) //nolint:gosec // at most MaxAccounts
	e.nested = e.nested || next != NoNext
	if id.Limit != budget.NoPeriod {
		e.features |= luascripts.BatchLimits
	}
}

// Operation begins an operation on the account at a place.
func (e *Encoder) Operation(kind byte, account int) {
	e.kinds = append(e.kinds, kind)
	e.places = append(e.places, byte(account+1)) //nolint:gosec // at most MaxAccounts
}

// Amount adds an amount to the operation.
func (e *Encoder) Amount(amount budget.Microcents) {
	e.arguments = binary.BigEndian.AppendUint64(e.arguments, uint64(amount)) //nolint:gosec // its 64 bits
}

// Time adds a time or a duration in ms.
func (e *Encoder) Time(ms int64) { e.arguments = appendUint(e.arguments, uint64(ms), 6) } //nolint:gosec // not negative

// Levels adds a set of levels.
func (e *Encoder) Levels(levels byte) { e.arguments = append(e.arguments, levels) }

// State adds a hold's state.
func (e *Encoder) State(state byte) { e.arguments = append(e.arguments, state) }

// NewHold adds the field of a hold that the operation makes.
func (e *Encoder) NewHold(id budget.ReservationID) { e.arguments = AppendHoldField(e.arguments, id) }

// NamedHold adds the field of a hold that the operation reads.
func (e *Encoder) NamedHold(id budget.ReservationID) { e.named = AppendHoldField(e.named, id) }

// markArgument is the index of the argument with number and digest.
const markArgument = 4

// Finish completes the batch, appends its arguments to args, and returns its number and
// digest as mark.
func (e *Encoder) Finish(env *Envelope, args []any) (mark string, all []any) {
	e.buffer, e.ends = e.buffer[:0], e.ends[:0]
	end := func() { e.ends = append(e.ends, len(e.buffer)) }
	for _, text := range [...]string{env.Config, env.Clock, env.Header, string(env.Session)} {
		e.buffer = append(e.buffer, text...)
		end()
	}
	e.buffer = binary.BigEndian.AppendUint64(e.buffer, env.Number)
	digest := len(e.buffer)
	e.buffer = append(e.buffer, "\x00\x00\x00\x00\x00\x00\x00\x00"...)
	end()
	e.buffer = appendUint(e.buffer, uint64(env.ValidUntil), 6)      //nolint:gosec // a time
	e.buffer = append(e.buffer, e.features, byte(len(e.fieldEnds))) //nolint:gosec // at most MaxAccounts
	if env.Repair {
		e.buffer = appendUint(e.buffer, env.Since, 8)
		if env.More {
			e.buffer = append(e.buffer, 1)
		} else {
			e.buffer = append(e.buffer, 0)
		}
	}
	if e.nested {
		e.buffer = append(e.buffer, e.nexts...)
	}
	end()
	e.buffer = append(e.buffer, e.kinds...)
	end()
	if len(e.fieldEnds) > 1 {
		e.buffer = append(e.buffer, e.places...)
	}
	end()
	e.buffer = append(e.buffer, e.arguments...)
	end()
	start := len(e.buffer)
	e.buffer = append(e.buffer, e.fields...)
	for _, fieldEnd := range e.fieldEnds {
		e.ends = append(e.ends, start+fieldEnd)
	}
	for i := 0; i < len(e.named); i += HoldFieldBytes {
		e.buffer = append(e.buffer, e.named[i:i+HoldFieldBytes]...)
		end()
	}
	e.hash.ResetWithSeed(env.Seed)
	_, _ = e.hash.Write(e.buffer) // never fails, as documented
	binary.BigEndian.PutUint64(e.buffer[digest:], e.hash.Sum64())
	e.texts = e.texts[:0]
	from := 0
	for _, to := range e.ends {
		e.texts = append(e.texts, e.buffer[from:to:to])
		from = to
	}
	args = slices.Grow(args, len(e.texts))
	for i := range e.texts {
		args = append(args, &e.texts[i])
	}
	return string(e.texts[markArgument]), args
}
