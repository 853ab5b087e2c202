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

// limitScenes are further scenes, for engines with limits.
var limitScenes = []scene{
	{ // a limit that is set, removed and set again while there are holds
		{verb: verbReserve, tenant: "acme", windowing: windowing{lasts: true}},
		{verb: verbConfigure, tenant: "acme", limiting: limiting{limits: limitChange{set: []budget.Period{budget.Day}, amount: 1000}}},
		{verb: verbReserve, tenant: "acme", windowing: windowing{lasts: true}},
		{verb: verbCommit, tenant: "acme", which: 1},
		{verb: verbConfigure, tenant: "acme", limiting: limiting{limits: limitChange{remove: []budget.Period{budget.Day}}}},
		{verb: verbConfigure, tenant: "acme", limiting: limiting{limits: limitChange{set: []budget.Period{budget.Day}, amount: 500}}},
		{verb: verbReserve, tenant: "acme", windowing: windowing{lasts: true}},
		{verb: verbCommit, tenant: "acme", which: 1, basis: fromHeld},
		{verb: verbRelease, tenant: "acme"},
	},
	{ // settles after the boundary of one of two limits
		{verb: verbConfigure, tenant: "acme/search", limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Hour, budget.Month}, amount: 800, window: budget.Window{Carry: 100},
		}}},
		{verb: verbReserve, tenant: "acme/search", windowing: windowing{lasts: true}},
		{verb: verbReserve, tenant: "acme/search", windowing: windowing{lasts: true}},
		{verb: verbAdvance, tenant: "acme/search", windowing: windowing{toward: toSecond}, limiting: limiting{place: 1}},
		{verb: verbCommit, tenant: "acme/search", basis: fromHeld},
		{verb: verbCommitAvailable, tenant: "acme/search", which: 1, basis: fromPayable},
	},
	{ // limits as large as what the levels above have
		{verb: verbEnsure, tenant: "acme/ads", basis: fromExactFloat},
		{verb: verbConfigure, tenant: "acme/ads", basis: fromRemaining, limiting: limiting{limits: limitChange{set: []budget.Period{budget.Week}}}},
		{verb: verbRemaining, tenant: "acme/ads"},
		{verb: verbConfigure, tenant: "acme/ads", basis: fromRemaining, limiting: limiting{limits: limitChange{set: []budget.Period{budget.Last30Days}}}},
		{verb: verbRemaining, tenant: "acme/ads"},
		{verb: verbReserve, tenant: "acme/ads"},
	},
	{ // four limits, then others, and changes that fail
		{verb: verbConfigure, tenant: "acme", limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Hour, budget.Day, budget.Week, budget.Month}, amount: 1500,
		}}},
		{verb: verbConfigure, tenant: "acme", limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Last24Hours}, remove: []budget.Period{budget.Hour}, amount: 1500,
		}}},
		{verb: verbConfigure, tenant: "acme", setting: setOverdraft, basis: fromRoom, limiting: limiting{place: 1, limits: limitChange{
			set: []budget.Period{budget.Hour}, amount: 1500,
		}}},
		{verb: verbConfigure, tenant: "acme", setting: setCapHold, limiting: limiting{place: 1, limits: limitChange{
			set: []budget.Period{budget.Day, budget.Week}, amount: 1, overdraft: budget.MaxMicrocents - 1100,
		}}},
		{verb: verbConfigure, tenant: "acme", limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Hour, budget.Month}, remove: []budget.Period{budget.Last24Hours}, amount: 1, overdraft: budget.MaxMicrocents - 1100,
		}}},
	},
	{ // limits of a deleted tenant, and equal limits of two levels
		{verb: verbEnsure, tenant: "acme/ads", basis: fromExactFloat, limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Day, budget.Last7Days}, amount: 3000,
		}}},
		{verb: verbDelete, tenant: "acme/ads"},
		{verb: verbEnsure, tenant: "acme/ads", basis: fromExactFloat, limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Day, budget.Month}, overdraft: 20, percents: []int{50},
		}}},
		{verb: verbReserve, tenant: "acme/ads"},
		{verb: verbRemaining, tenant: "acme/ads"},
		{verb: verbClose, tenant: "acme/ads"},
		{verb: verbConfigure, tenant: "acme/ads", limiting: limiting{limits: limitChange{
			set: []budget.Period{budget.Hour, budget.Week, budget.Last7Days}, amount: 1000,
		}}},
	},
}

// scenes returns those for engines with the pair's abilities.
func (p *pair) scenes() []scene {
	if p.able.limits {
		return slices.Concat(scenes, limitScenes)
	}
	return scenes
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
