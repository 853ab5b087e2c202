package budgettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// operation is one step of a differential run. Its amount and its reservation are relative
// to the state, so that they hit the edges whatever came before, and so that the step stays
// meaningful when rapid shrinks the run.
type operation struct {
	verb   verb
	tenant budget.TenantID
	which  int  // counted back from the latest reservation, or never
	moved  bool // use the reservation's ID with this operation's tenant
	basis  basis
	offset int
	ttl    time.Duration // own stands for the engine's default
	jump   time.Duration // for verbAdvance

	// For engines with settings:
	instead    verb    // in place of verb, or sameVerb
	setting    setting // of verbConfigure and verbEnsure
	thresholds []int   // for setThresholds

	windowing // for engines with windows
	limiting  // for engines with limits
}

// setting is a kind of [budget.Setting].
type setting uint8

const (
	noSetting setting = iota
	setOverdraft
	setCapHold
	setCapReserved
	setCapHolds
	setThresholds // in random operations only
)

var settingNames = [...]string{"nothing", "overdraft", "cap_hold", "cap_reserved", "cap_holds", "thresholds"}

func (s setting) String() string { return settingNames[s] }

// of returns the setting with an amount, or the thresholds. For noSetting it returns none.
func (s setting) of(amount budget.Microcents, thresholds []int) []budget.Setting {
	switch s {
	case noSetting:
		return nil
	case setOverdraft:
		return []budget.Setting{budget.Overdraft(amount)}
	case setCapHold:
		return []budget.Setting{budget.CapHold(amount)}
	case setCapReserved:
		return []budget.Setting{budget.CapReserved(amount)}
	case setCapHolds:
		return []budget.Setting{budget.CapHolds(int64(amount))}
	case setThresholds:
		return []budget.Setting{budget.AtThresholds(thresholds...)}
	}
	panic(fmt.Sprintf("budgettest: setting %d", s))
}

// basis is the base amount to which an operation's offset is added.
type basis uint8

const (
	fromZero basis = iota
	fromRemaining
	fromHeld
	fromHeldAndRemaining
	fromExactFloat
	fromLargest
	fromSmallest
	fromRoom     // the largest possible grant
	fromDebt     // the amount that a grant pays before remaining is positive
	fromReserved // a cap at which nothing more can be reserved
	fromPayable  // the largest actual cost of a commit
)

var basisNames = [...]string{
	"0", "remaining", "held", "held+remaining", "2^53", "2^63-1", "-2^63", "room", "debt", "reserved", "payable",
}

func (b basis) String() string { return basisNames[b] }

// The choices for an operation. One byte selects from each list, so a value that a list has
// several times is more likely.
var (
	verbChoices = []verb{
		verbReserve, verbCommit, verbRelease, verbReserve, verbEnsure, verbAdvance, verbCommit, verbGrant,
		verbReserve, verbWithdraw, verbRelease, verbBalance, verbRemaining, verbHolds, verbCommit, verbReserve,
		verbAdvance, verbRelease, verbReserve, verbGrant, verbLookup, verbLookup, verbDelete, verbEnsure,
	}
	// A closed tenant must be deleted and created again before it accepts anything, so verbClose
	// is the rarest.
	insteadChoices = slices.Concat(rareVerbs, rareVerbs, []verb{verbClose, verbUnfreeze, verbFreeze, sameVerb})
	rareVerbs      = []verb{
		sameVerb, sameVerb, verbConfigure, sameVerb, verbCommitAvailable, sameVerb, sameVerb, verbUnfreeze, sameVerb, sameVerb,
		verbConfigure, verbCommitAvailable, sameVerb, verbFreeze, sameVerb, sameVerb, verbConfigure, sameVerb, sameVerb, verbUnfreeze,
		verbCommitAvailable, sameVerb, sameVerb, sameVerb,
	}
	settingChoices = []setting{
		noSetting, setOverdraft, setCapReserved, setCapHolds, setOverdraft, noSetting, setCapHold, setOverdraft,
		setThresholds, noSetting, setOverdraft, setCapHolds, noSetting, setOverdraft, setCapReserved, setOverdraft,
	}
	thresholdChoices = [][]int{
		{100}, {50, 80, 100}, {}, {1, budget.MaxThreshold}, {0}, {80, 50}, {100, budget.MaxThreshold + 1}, {90},
	}
	tenantChoices = []budget.TenantID{
		"acme", "acme/search", "globex", "acme/search/key-7", "acme/search", "acme", "acme/search/key-7", "acme/ads", "acme/search/key-7/a",
	}
	whichChoices = []int{0, 1, 0, 2, 3, 1, 6, never}
	basisChoices = []basis{
		fromZero, fromPayable, fromHeld, fromRemaining, fromHeldAndRemaining, fromZero, fromHeld, fromExactFloat,
		fromLargest, fromReserved, fromDebt, fromZero, fromSmallest, fromRoom, fromZero, fromRoom,
		fromZero, fromZero, fromHeld, fromZero,
	}
	offsetChoices = []int{0, 1, 2, -1, 10, 3, 1000, 100, 7, -2, 50, 500, 20, 5, 4, -7}
	ttlChoices    = []time.Duration{
		own, own, time.Millisecond, 3 * time.Millisecond, 0, differentialTTL + time.Millisecond, own, budget.MaxHoldTTL,
	}
	jumpChoices = []time.Duration{
		time.Millisecond, 700 * time.Microsecond, 3 * time.Millisecond, differentialTTL, differentialTTL - time.Millisecond,
		time.Nanosecond, 10 * time.Second, 11 * time.Minute,
	}
)

const (
	own             = time.Duration(-1)
	sameVerb        = verbRemaining
	never           = -1 // a reservation that was never made
	differentialTTL = 20 * time.Millisecond

	operationBytes = 11
)

// withoutLevels returns the operation for engines whose levels are not checked: it deletes no
// tenant, and no tenant is an ancestor of another.
func (op operation) withoutLevels() operation {
	op.tenant = flatTenants[op.tenant]
	if op.verb == verbDelete {
		op.verb = verbBalance
	}
	return op
}

// withSettings returns the operation for engines whose settings are checked.
func (op operation) withSettings() operation {
	if op.instead != sameVerb {
		op.verb = op.instead
	}
	return op
}

var flatTenants = map[budget.TenantID]budget.TenantID{
	"acme": "acme", "acme/search": "initech/search", "acme/ads": "initech/ads", "globex": "globex",
	"acme/search/key-7": "umbrella/search/key-7", "acme/search/key-7/a": "hooli/search/key-7/a",
}

// decode converts any bytes to operations, for rapid and the fuzzer. It ignores an
// incomplete operation at the end.
func decode(data []byte) []operation {
	var ops []operation
	for ; len(data) >= operationBytes; data = data[operationBytes:] {
		op := operation{
			verb:   pick(verbChoices, data[0]),
			tenant: pick(tenantChoices, data[1]),
			which:  pick(whichChoices, data[2]),
			moved:  data[5]%8 == 7,
			basis:  pick(basisChoices, data[3]),
			offset: pick(offsetChoices, data[4]),
			ttl:    pick(ttlChoices, data[5]),
			jump:   pick(jumpChoices, data[5]),

			instead:    pick(insteadChoices, data[6]),
			setting:    pick(settingChoices, data[5]),
			thresholds: pick(thresholdChoices, data[4]),

			windowing: decodeWindowing(data[7], data[8]),
			limiting:  decodeLimiting(data[9], data[10]),
		}
		ops = append(ops, op)
	}
	return ops
}

func pick[E any](choices []E, b byte) E { return choices[int(b)%len(choices)] }

// String returns the fields that the verb uses.
func (op operation) String() string {
	amount := fmt.Sprintf("%s%+d", op.basis, op.offset)
	switch op.verb {
	case verbAdvance:
		return fmt.Sprintf("advance %s%s", op.jump, op.of(op.tenant))
	case verbReserve:
		if op.ttl != own {
			amount += " for " + op.ttl.String()
		}
		return fmt.Sprintf("reserve %s %s", op.tenant, amount)
	case verbCommit, verbCommitAvailable, verbRelease, verbLookup, verbAbandon:
		return fmt.Sprintf("%s the latest but %d at %s (moved to %s: %t)", op.verb, op.which, amount, op.tenant, op.moved)
	case verbGrant, verbWithdraw:
		return fmt.Sprintf("%s %s %s", op.verb, op.tenant, amount)
	case verbEnsure:
		if op.limits.isSet() {
			amount += " with " + op.limits.String()
		}
		if op.window.set {
			amount += " with " + op.window.String()
		}
		if op.setting == noSetting {
			return fmt.Sprintf("%s %s %s", op.verb, op.tenant, amount)
		}
		return fmt.Sprintf("%s %s %s with %s %d %d", op.verb, op.tenant, amount, op.setting, op.offset, op.thresholds)
	case verbConfigure:
		if op.limits.isSet() {
			amount += " with " + op.limits.String()
		}
		if op.window.set {
			return fmt.Sprintf("%s %s %s %s", op.verb, op.tenant, op.window, amount)
		}
		return fmt.Sprintf("%s %s %s %s %d", op.verb, op.tenant, op.setting, amount, op.thresholds)
	case verbBalance:
		return fmt.Sprintf("%s %s (%s)", op.limitedName(), op.tenant, op.period)
	case verbRemaining, verbHolds, verbDelete, verbFreeze, verbUnfreeze, verbClose:
	}
	return fmt.Sprintf("%s %s", op.verb, op.tenant)
}
