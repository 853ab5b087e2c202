package lane

import "github.com/calybris/bursar/luascripts"

// properties are the properties of a kind of operation on which the protocol depends.
type properties struct {
	makes    bool // makes a hold
	names    bool // names a hold
	settles  bool // ends the hold that it names
	optional bool // may be skipped once its caller has given up
	amount   bool

	configures bool // has a change of settings
	creates    bool // an account, and its partition
}

// kinds is the lanes' part of the table of operations. A new kind starts here, with its
// reply in decode and its name in package coordinator.
var kinds = [256]properties{
	luascripts.KindReserve:    {makes: true, optional: true, amount: true},
	luascripts.KindReserveTTL: {makes: true, optional: true, amount: true},
	luascripts.KindCommit:     {names: true, settles: true, amount: true},
	luascripts.KindRelease:    {names: true, settles: true},
	luascripts.KindEnsure:     {amount: true, creates: true},
	luascripts.KindGrant:      {amount: true},
	luascripts.KindWithdraw:   {amount: true},
	luascripts.KindBalance:    {optional: true},
	luascripts.KindRemaining:  {optional: true},
	luascripts.KindLookup:     {names: true, optional: true},
	luascripts.KindDelete:     {},
	luascripts.KindMerge:      {names: true},

	luascripts.KindCommitAvailable: {names: true, settles: true, amount: true},
	luascripts.KindEnsureWith:      {amount: true, configures: true, creates: true},
	luascripts.KindConfigure:       {configures: true},

	luascripts.KindEpoch:      {optional: true},
	luascripts.KindListLimits: {optional: true},
	luascripts.KindRenew:      {},
}
