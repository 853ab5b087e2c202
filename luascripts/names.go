package luascripts

// The kinds of operations, one byte each in a batch.
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
	// The same as KindCommit, but it charges no more than the levels can pay.
	KindCommitAvailable = 'a'
	KindEnsureWith      = 'E' // with settings
	KindConfigure       = 'f'
	KindRenew           = 'v' // the boundaries of a window
	KindEpoch           = 't' // the terms of the epoch that contains a time
	KindListLimits      = 's' // the balances of all limits
)

// The codes of operations in a reply.
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
	CodeMemory       = 'M' // refused: Redis is past maxmemory
	CodeKnown        = 'K'
	CodeNotKnown     = 'k'
	CodeDeleted      = 'X'
	CodeHoldsOpen    = 'H' // not deleted: it has open holds
	CodeHoldsFull    = 'F' // refused: the account has as many holds as it may
	CodeLost         = 'y' // no hold, and the batch that made it is missing too
	CodeMerged       = 'm'
	CodeMergedOver   = 'u' // merged over another end
	CodeAsHigh       = 'i' // nothing to merge
	CodeForgotten    = 'o' // it was here, and its end is forgotten
	CodeConfigured   = 'S'
	CodeClosed       = 'z'
	CodeFrozen       = 'f'
	CodeCapped       = 'p'
	CodeRenewed      = 'N'
	CodeEpoch        = 'P'
	CodeNoEpoch      = 'j' // it is not kept
	CodeLimitList    = 'b'
	CodeLimitsFull   = 'Z' // not configured: the tenant would have too many limits
	CodeNoLimit      = 'g' // the tenant doesn't have the limit
	CodeLimits       = 'U' // undecided: the batch lacks limits of a level; repeat it with them
	CodeWindow       = 'w' // undecided: the next boundary of a window isn't known; renew it and repeat
	CodeOverdue      = 'D' // undecided: the account has holds that are due; repeat it
	CodeCorrupt      = '!' // undecided: the account or the hold is damaged
)

// The states of a hold.
const (
	HoldOpen      = 'o'
	HoldCommitted = 'c'
	HoldReleased  = 'l'
	HoldExpired   = 'x'
)

// The states of a session.
const (
	SessionNew       = 'n' // opened, no batch yet
	SessionApplied   = 'a'
	SessionRepairing = 'r' // more of a repair follows
	SessionClosed    = 'x'
)

// The first bytes of a ledger's fields.
const (
	FieldHeader  = 'f'
	FieldControl = 'c'
	FieldAccount = 'a'
	FieldHold    = 'h'
	FieldSession = 's'
	FieldReply   = 'r'
	FieldRing    = 'd'
	FieldEndings = 'e'
	FieldEpoch   = 'p'
)

// The sizes of records' fixed parts.
const (
	AccountBytes   = 65
	HoldBytes      = 34
	TombstoneBytes = 48
	SessionBytes   = 23
	ControlBytes   = 46
	// SettingsBytes is the size of settings without thresholds, each of which adds 2.
	SettingsBytes = 29
	// WindowBytes is the size of a window without its zone, and its times of 6 bytes each.
	WindowBytes = 42
	EpochBytes  = 46
	// MaxThresholds, MaxThreshold and MaxLimits are those of package budget.
	MaxLimits     = 4
	MaxThresholds = 16
	MaxThreshold  = 1000
)

// The flags of an account.
const (
	AccountFrozen   = 1
	AccountClosed   = 2
	AccountSettings = 4  // settings follow the fixed part
	AccountWindow   = 8  // a window follows the settings
	AccountLimits   = 16 // it has settings, and the record ends with the set of further limits
)

// The features of a batch, in the byte before the number of its accounts.
const (
	BatchLimits   = 1 // it has accounts of limits
	BatchSettings = 2 // it has a change of settings
)

// MaxPeriod is the largest period of package budget. The name of a limit's account is its
// period, as one byte, and its tenant, whose name never begins with such a byte.
const MaxPeriod = 7

// The settings of a change.
const (
	SetOverdraft = 1 << iota
	SetCapHold
	SetCapReserved
	SetCapHolds
	SetThresholds
	SetFrozen
	SetClosed
	SetWindow
)

// The caps in a reply.
const (
	CapHold     = 'h'
	CapReserved = 'r'
	CapHolds    = 'n'
)

// The flags of a reply.
const (
	FlagMoreDue     = 1
	FlagNotWhole    = 2 // the timers have to be rebuilt
	FlagDamageFound = 4
	FlagCrossed     = 8 // thresholds were crossed
	FlagWindows     = 16
	FlagLimits      = 32 // the batch lacks limits
)

const (
	// Layout is the version of the records.
	Layout = 4
	// MaxOperations bounds a batch, so that no unpack in a script reaches Lua's limit.
	MaxOperations = 512
	// MaxAccounts bounds the accounts of a batch.
	MaxAccounts = 255
	// FlatBytes is the length of ARGV[6] of a batch in which no tenant has an ancestor. In
	// others the parents of the accounts follow.
	FlatBytes = 8
	// FlatMergeBytes is FlatBytes for a batch of merges.
	FlatMergeBytes = 17
	// SeveralLevels is added to the serial of a hold that has debited not only its tenant's
	// base limit: the serial is then the largest of all that it has debited. A batch without
	// ancestors compares serials alone, and so takes no such hold for one of its own accounts.
	SeveralLevels = 1 << 47
	// Deleted is the record of an account that was deleted, until its field goes.
	Deleted = "-"
	// Sentinel is the member that shows that the timers are whole. Its 65 bytes make
	// Redis keep the set as a skip list from the start: in a list of up to 128 members
	// of 64 bytes each insertion searches from end to end.
	Sentinel = "-----------------------------------------------------------------"
	// SessionRetentionMS is the time for which the session of a silent node is kept.
	SessionRetentionMS = 7 * 24 * 3600 * 1000
)
