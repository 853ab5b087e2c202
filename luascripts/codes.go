package luascripts

// The kinds of operations in a batch: one letter each in its list of kinds.
const (
	KindReserve    = 'r'
	KindReserveTTL = 'd'
	KindCommit     = 'c'
	KindRelease    = 'l'
	KindEnsure     = 'e'
	KindGrant      = 'g'
	KindWithdraw   = 'w'
	KindBalance    = 'b'
	KindRemaining  = 'q'
	KindLookup     = 'k'
	KindDelete     = 'x'
	KindMerge      = 'm'
)

// The codes of operations in an APPLIED reply.
const (
	CodeReserved     = 'R'
	CodeInsufficient = 'I'
	CodeNoTenant     = 'T'
	CodeCommitted    = 'C'
	CodeReleased     = 'L'
	CodeOverrun      = 'O'
	CodeNoHold       = 'n'
	CodeWasCommitted = 'c'
	CodeWasReleased  = 'l'
	CodeWasExpired   = 'x'
	CodeCreated      = 'E'
	CodeExists       = 'e'
	CodeGranted      = 'G'
	CodeOverflow     = 'V'
	CodeWithdrawn    = 'W'
	CodeBalance      = 'B'
	CodeRemaining    = 'Q'
	CodeMemory       = 'M'
	CodeKnown        = 'K'
	CodeNotKnown     = 'k'
	CodeDeleted      = 'X'
	CodeHoldsOpen    = 'H'
	CodeHoldsFull    = 'F'
	CodeLost         = 'y'
	CodeMerged       = 'm'
	CodeMergedOver   = 'u'
	CodeAsHigh       = 'i'
	CodeForgotten    = 'o'
)

// The words that replies begin with.
const (
	Applied     = "APPLIED"
	NoFamily    = "NOFAMILY"
	Layout      = "LAYOUT"
	Incarnation = "INCARNATION"
	NoSession   = "NOSESSION"
	Cloned      = "CLONED"
	Stale       = "STALE"
	Gap         = "GAP"
	Expired     = "EXPIRED"
	More        = "MORE"
	Corrupt     = "CORRUPT"
	Swept       = "SWEPT"
	Opened      = "OPEN"
	Closed      = "CLOSED"
	HoldsFound  = "FOUND"
	NoTenant    = "NOTENANT"
)

// Bounds of a batch, so that no unpack in a script meets Lua's limit.
const (
	MaxOperations = 512
	MaxAccounts   = 16
)
