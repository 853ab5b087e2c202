package budgettest

import (
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// A scene is a sequence of operations that random ones seldom make one after the other. Each
// case of a differential test begins with one of them.
type scene []operation

var scenes = []scene{
	{},
	{ // holds below a level that has none of its own
		{verb: verbEnsure, tenant: "acme/search"},
		{verb: verbReserve, tenant: "acme/search/key-7"},
		{verb: verbDelete, tenant: "acme/search"},
		{verb: verbAdvance, tenant: "acme"},
		{verb: verbDelete, tenant: "acme/search"},
	},
	{ // a cap below a hold, and caps of an ancestor
		{verb: verbReserve, tenant: "acme"},
		{verb: verbConfigure, tenant: "acme", setting: setCapHold},
		{verb: verbCommit, tenant: "acme", basis: fromHeld},
		{verb: verbReserve, tenant: "acme/search/key-7"},
		{verb: verbConfigure, tenant: "acme", setting: setCapHolds},
		{verb: verbReserve, tenant: "acme/search/key-7"},
		{verb: verbReserve, tenant: "acme"},
	},
	{ // a closed account, which was frozen
		{verb: verbFreeze, tenant: "acme"},
		{verb: verbReserve, tenant: "acme/search/key-7"},
		{verb: verbClose, tenant: "acme"},
		{verb: verbWithdraw, tenant: "acme"},
		{verb: verbGrant, tenant: "acme"},
		{verb: verbFreeze, tenant: "acme"},
		{verb: verbUnfreeze, tenant: "acme"},
		{verb: verbConfigure, tenant: "acme", setting: setCapHold},
		{verb: verbReserve, tenant: "acme/search/key-7"},
		{verb: verbReserve, tenant: "acme"},
	},
	{ // an overdraft and a budget that together are the largest amount
		{verb: verbConfigure, tenant: "acme", setting: setOverdraft},
		{verb: verbGrant, tenant: "acme", basis: fromRoom},
		{verb: verbConfigure, tenant: "acme", setting: setOverdraft, basis: fromRoom},
	},
	{ // settles after a rolling window
		{verb: verbConfigure, tenant: "acme", basis: fromRemaining, windowing: windowing{window: windowChange{set: true, window: budget.Window{Period: budget.Last24Hours}}}},
		{verb: verbReserve, tenant: "acme", windowing: windowing{lasts: true}},
		{verb: verbReserve, tenant: "acme"},
		{verb: verbAdvance, tenant: "acme", windowing: windowing{toward: beyondFourth}},
		{verb: verbCommitAvailable, tenant: "acme", which: 1},
		{verb: verbRelease, tenant: "acme"},
		{verb: verbLookup, tenant: "acme"},
	},
}

// play performs the operations of a scene. Their offsets and times are random.
func (p *pair) play(s scene, draw func() operation, perform func(operation)) {
	for _, op := range s {
		if !p.able.settings && op.verb.needsSettings() {
			continue
		}
		random := draw()
		op.offset, op.ttl, op.jump, op.lasts = random.offset, random.ttl, random.jump, op.lasts || random.lasts
		perform(op)
	}
}

// needsSettings reports whether only engines with settings have the verb.
func (v verb) needsSettings() bool {
	return slices.Contains([]verb{verbConfigure, verbFreeze, verbUnfreeze, verbClose, verbCommitAvailable}, v)
}
