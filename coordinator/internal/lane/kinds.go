package lane

import "github.com/calybris/bursar/luascripts"

// properties are those of a kind of operation that the protocol depends on.
type properties struct {
	makes    bool // it makes a hold
	names    bool // it names a hold
	settles  bool // it ends the hold that it names
	optional bool // it need not happen once its caller has given up
	amount   bool // it carries an amount
}

// kinds is the part of the table of operations that concerns lanes. A new kind starts
// here, with its reply in decode and its name in package coordinator.
var kinds = [256]properties{
	luascripts.KindReserve:    {makes: true, optional: true, amount: true},
	luascripts.KindReserveTTL: {makes: true, optional: true, amount: true},
	luascripts.KindCommit:     {names: true, settles: true, amount: true},
	luascripts.KindRelease:    {names: true, settles: true},
	luascripts.KindEnsure:     {amount: true},
	luascripts.KindGrant:      {amount: true},
	luascripts.KindWithdraw:   {amount: true},
	luascripts.KindBalance:    {optional: true},
	luascripts.KindRemaining:  {optional: true},
	luascripts.KindLookup:     {names: true, optional: true},
	luascripts.KindDelete:     {},
	luascripts.KindMerge:      {names: true},
}
