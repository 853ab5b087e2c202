package coordinator

import "github.com/calybris/bursar/luascripts"

// operation is a verb under its name in telemetry.
type operation uint8

const (
	opReserve operation = iota
	opCommit
	opRelease
	opLookup
	opEnsure
	opGrant
	opWithdraw
	opDelete
	opRemaining
	opBalance
	opHolds
	opTree
	opCommitAvailable
	opConfigure
	opFreeze
	opUnfreeze
	opClose
	opLimits
	operationCount
)

// operations is the table of verbs. A new verb starts here; the properties of its kind
// are in package lane, its Lua in accounts.lua or decide.lua.
var operations = [operationCount]struct {
	name string
	kind byte // of its calls
}{
	opReserve:   {"reserve", luascripts.KindReserve},
	opCommit:    {"commit", luascripts.KindCommit},
	opRelease:   {"release", luascripts.KindRelease},
	opLookup:    {"lookup", luascripts.KindLookup},
	opEnsure:    {"ensure_tenant", luascripts.KindEnsure},
	opGrant:     {"grant", luascripts.KindGrant},
	opWithdraw:  {"withdraw", luascripts.KindWithdraw},
	opDelete:    {"delete_tenant", luascripts.KindDelete},
	opRemaining: {"remaining", luascripts.KindRemaining},
	opBalance:   {"balance", luascripts.KindBalance},
	opHolds:     {"holds", luascripts.KindRemaining},
	opTree:      {"tree", luascripts.KindBalance},

	opCommitAvailable: {"commit_available", luascripts.KindCommitAvailable},
	opConfigure:       {"configure", luascripts.KindConfigure},
	opFreeze:          {"freeze_tenant", luascripts.KindConfigure},
	opUnfreeze:        {"unfreeze_tenant", luascripts.KindConfigure},
	opClose:           {"close_tenant", luascripts.KindConfigure},
	opLimits:          {"limits", luascripts.KindListLimits},
}

func (op operation) String() string { return operations[op].name }
func (op operation) kind() byte     { return operations[op].kind }

// spanNames holds the span names, built once because each operation starts a span.
var spanNames = func() (names [operationCount]string) {
	for op := range operations {
		names[op] = "bursar." + operations[op].name
	}
	return names
}()
