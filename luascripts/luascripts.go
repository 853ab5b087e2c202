// Package luascripts holds the Lua that runs inside Redis, one file a subject, and composes
// the files into scripts. Each header states keys, arguments, replies and the invariant
// that the file keeps. Names such as $OPEN are filled in from names.go.
//
// What belongs here is the Lua and the names that Go shares with it; how and when a
// script is sent belongs to package coordinator. It is a leaf.
package luascripts

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1; it protects nothing.
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed *.lua
var sources embed.FS

// Script is a text that Redis runs, and the SHA-1 that Redis calls it by.
type Script struct {
	Source string
	SHA    string
}

// Scripts are all scripts of one dialect.
type Scripts struct {
	Batch Script
	// BatchLowMemory is Batch for a Redis past maxmemory: it answers M to what would
	// hold, create or grant more, and lets settles land.
	BatchLowMemory Script
	// Merge is Batch with merges, for a repair. It too may write past maxmemory.
	Merge   Script
	Open    Script
	Close   Script
	Rebuild Script
	Page    Script
}

// Dialect says for which server scripts are composed.
type Dialect int

const (
	// Redis is Redis 7 or later, or Valkey: a first line makes a replica refuse scripts.
	Redis Dialect = iota
	// Miniredis knows neither that line nor struct.
	Miniredis
)

// composed has the scripts of each dialect. Composing takes milliseconds, and hundreds with the
// race detector.
var composed = [...]func() Scripts{
	Redis:     sync.OnceValue(func() Scripts { return ComposeFrom(Redis, sources) }),
	Miniredis: sync.OnceValue(func() Scripts { return ComposeFrom(Miniredis, sources) }),
}

// Compose returns the scripts of a dialect.
func Compose(d Dialect) Scripts { return composed[d]() }

// ComposeFrom composes the scripts from other files of the same names, as tests do that
// break a rule.
func ComposeFrom(d Dialect, files fs.FS) Scripts {
	c := composer{d, files}
	return Scripts{
		Batch:          c.batch("", false, false),
		BatchLowMemory: c.batch(allowOOM, true, false),
		Merge:          c.batch(allowOOM, true, true),
		Open:           c.script(allowOOM, nil, "ledger.lua", "open.lua"),
		Close:          c.script(allowOOM, nil, "ledger.lua", "close.lua"),
		Rebuild:        c.script(allowOOM, nil, "ledger.lua", "rebuild.lua"),
		Page:           c.script(allowOOM, nil, "ledger.lua", "page.lua"),
	}
}

const allowOOM = " flags=allow-oom"

type composer struct {
	dialect Dialect
	files   fs.FS
}

func (c composer) batch(flags string, lowMemory, merges bool) Script {
	more := map[string]string{"LOW_MEMORY": strconv.FormatBool(lowMemory), "MERGES": strconv.FormatBool(merges)}
	rare := []string{"accounts.lua"}
	more["FLAT_BYTES"] = number(FlatBytes)
	if merges {
		rare = []string{"merge.lua", "accounts.lua"}
		more["FLAT_BYTES"] = number(FlatMergeBytes)
	}
	more["PRIOR"] = c.text(more, "prior.lua")
	more["ON_THRESHOLDS"] = c.text(more, "thresholds.lua")
	more["ON_WINDOWS"] = c.text(more, "windows.lua")
	more["ON_SETTINGS"] = c.text(more, "settings.lua")
	more["ON_LIMITS"] = c.text(more, "limits.lua")
	more["ON_PLACES"] = c.text(more, "places.lua")
	more["ON_LEVELS"] = c.text(more, "levels.lua")
	more["OTHER_OPERATIONS"] = c.text(more, rare...)
	return c.script(flags, more, "ledger.lua", "batch.lua", "expiry.lua", "holds.lua", "decide.lua", "write.lua")
}

func (c composer) script(flags string, more map[string]string, files ...string) Script {
	source := "#!lua" + flags + "\n" + c.text(more, files...)
	if c.dialect == Miniredis {
		source = c.text(more, append([]string{"struct.lua"}, files...)...)
	}
	sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
	return Script{Source: source, SHA: hex.EncodeToString(sum[:])}
}

// text returns files one after the other, with the names filled in.
func (c composer) text(more map[string]string, files ...string) string {
	var b strings.Builder
	for _, file := range files {
		text, err := fs.ReadFile(c.files, file)
		if err != nil {
			panic(err) // the files are embedded
		}
		b.WriteString(fill(string(text), more))
	}
	return b.String()
}

var name = regexp.MustCompile(`\$[A-Z][A-Z_]*`)

// fill replaces $NAMES by their values, and leaves out comments.
func fill(text string, more map[string]string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if code, _, found := strings.Cut(line, "--"); found && !strings.Contains(code, "'") {
			line = strings.TrimRight(code, " \t") + "\n"
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		b.WriteString(name.ReplaceAllStringFunc(line, func(n string) string {
			if value, ok := more[n[1:]]; ok {
				return value
			}
			value, ok := values[n[1:]]
			if !ok {
				panic(fmt.Sprintf("no value for %s", n))
			}
			return value
		}))
	}
	return b.String()
}

func number(n int) string  { return strconv.Itoa(n) }
func letter(c byte) string { return "'" + string(c) + "'" }

var values = map[string]string{
	"RESERVE": number(KindReserve), "RESERVE_TTL": number(KindReserveTTL), "COMMIT": number(KindCommit),
	"RELEASE": number(KindRelease), "ENSURE": number(KindEnsure), "GRANT": number(KindGrant),
	"WITHDRAW": number(KindWithdraw), "BALANCE": number(KindBalance), "REMAINING": number(KindRemaining),
	"LOOKUP": number(KindLookup), "DELETE": number(KindDelete), "MERGE": number(KindMerge),
	"COMMIT_AVAILABLE": number(KindCommitAvailable), "ENSURE_WITH": number(KindEnsureWith), "CONFIGURE": number(KindConfigure),
	"RENEW": number(KindRenew), "EPOCH": number(KindEpoch), "LIST_LIMITS": number(KindListLimits),

	"CODE_RESERVED": letter(CodeReserved), "CODE_INSUFFICIENT": letter(CodeInsufficient),
	"CODE_NO_TENANT": letter(CodeNoTenant), "CODE_COMMITTED": letter(CodeCommitted),
	"CODE_RELEASED": letter(CodeReleased), "CODE_OVERRUN": letter(CodeOverrun),
	"CODE_NO_HOLD": letter(CodeNoHold), "CODE_WAS_COMMITTED": letter(CodeWasCommitted),
	"CODE_WAS_RELEASED": letter(CodeWasReleased), "CODE_WAS_EXPIRED": letter(CodeWasExpired),
	"CODE_CREATED": letter(CodeCreated), "CODE_EXISTS": letter(CodeExists),
	"CODE_GRANTED": letter(CodeGranted), "CODE_OVERFLOW": letter(CodeOverflow),
	"CODE_WITHDRAWN": letter(CodeWithdrawn), "CODE_BALANCE": letter(CodeBalance),
	"CODE_REMAINING": letter(CodeRemaining), "CODE_MEMORY": letter(CodeMemory),
	"CODE_KNOWN": letter(CodeKnown), "CODE_NOT_KNOWN": letter(CodeNotKnown),
	"CODE_DELETED": letter(CodeDeleted), "CODE_HOLDS_OPEN": letter(CodeHoldsOpen),
	"CODE_HOLDS_FULL": letter(CodeHoldsFull), "CODE_LOST": letter(CodeLost),
	"CODE_MERGED": letter(CodeMerged), "CODE_MERGED_OVER": letter(CodeMergedOver),
	"CODE_AS_HIGH": letter(CodeAsHigh), "CODE_FORGOTTEN": letter(CodeForgotten),
	"CODE_CONFIGURED": letter(CodeConfigured), "CODE_CLOSED": letter(CodeClosed),
	"CODE_FROZEN": letter(CodeFrozen), "CODE_CAPPED": letter(CodeCapped),
	"CODE_RENEWED": letter(CodeRenewed), "CODE_EPOCH": letter(CodeEpoch), "CODE_NO_EPOCH": letter(CodeNoEpoch), "CODE_WINDOW": letter(CodeWindow),
	"CODE_LIMIT_LIST": letter(CodeLimitList), "CODE_LIMITS_FULL": letter(CodeLimitsFull), "CODE_NO_LIMIT": letter(CodeNoLimit), "CODE_LIMITS": letter(CodeLimits),
	"CODE_OVERDUE": letter(CodeOverdue), "CODE_CORRUPT": letter(CodeCorrupt),

	"OPEN": letter(HoldOpen), "COMMITTED": letter(HoldCommitted), "RELEASED": letter(HoldReleased), "EXPIRED": letter(HoldExpired),
	"IS_OPEN": number(HoldOpen), "IS_COMMITTED": number(HoldCommitted), "IS_RELEASED": number(HoldReleased), "IS_EXPIRED": number(HoldExpired),

	"SESSION_NEW": letter(SessionNew), "SESSION_APPLIED": letter(SessionApplied),
	"SESSION_REPAIRING": letter(SessionRepairing), "SESSION_CLOSED": letter(SessionClosed),

	"IS_HOLD": number(FieldHold), "IS_SESSION": number(FieldSession), "IS_ENDINGS": number(FieldEndings),

	"ACCOUNT": "'>i4I4i4I4I4I4I4I4I4I6I6I6I4I6B'", "ACCOUNT_BYTES": number(AccountBytes),
	// The places of an account's numbers, in the order of ACCOUNT, and of its record.
	"GRANTED_HI": number(1), "GRANTED_LO": number(2), "REMAINING_HI": number(3), "REMAINING_LO": number(4),
	"RESERVED_HI": number(5), "RESERVED_LO": number(6), "COMMITTED_HI": number(7), "COMMITTED_LO": number(8),
	"HOLDS": number(9), "SERIAL": number(10), "DEADLINE": number(11), "YOUNG": number(12), "OLDER": number(13),
	"TURN": number(14), "FLAGS": number(15), "RECORD": number(16), "SETTINGS": number(17), "TAIL": number(18),
	"REACHED": number(19), "WINDOW": number(20), "LIMITS": number(21),

	// The numbers of settings, and their places.
	"SETTINGS_FORM": "'>I4I4I4I4I4I4I4B'", "SETTINGS_BYTES": number(SettingsBytes),
	"OVERDRAFT_HI": number(1), "OVERDRAFT_LO": number(2), "CAP_HOLD_HI": number(3), "CAP_HOLD_LO": number(4),
	"CAP_RESERVED_HI": number(5), "CAP_RESERVED_LO": number(6), "CAP_HOLDS": number(7), "THRESHOLDS": number(8),
	"MAX_THRESHOLDS": number(MaxThresholds), "MAX_THRESHOLD": number(MaxThreshold),
	"HAS_SETTINGS": number(AccountSettings), "ACCOUNT_FLAGS": number(AccountFrozen + AccountClosed + AccountSettings + AccountWindow + AccountLimits),
	"HAS_WINDOW": number(AccountWindow), "HAS_LIMITS": number(AccountLimits), "LIMITS_FOLLOW": number(FlagLimits),
	"BATCH_LIMITS": number(BatchLimits), "BATCH_SETTINGS": number(BatchSettings), "MAX_LIMITS": number(MaxLimits), "ALL_PERIODS": number(1<<MaxPeriod - 1),
	"SET_WINDOW": number(SetWindow), "WINDOWS_FOLLOW": number(FlagWindows),
	"SET_OVERDRAFT": number(SetOverdraft), "SET_CAP_HOLD": number(SetCapHold), "SET_CAP_RESERVED": number(SetCapReserved),
	"SET_CAP_HOLDS": number(SetCapHolds), "SET_THRESHOLDS": number(SetThresholds), "SET_FROZEN": number(SetFrozen), "SET_CLOSED": number(SetClosed),
	"BY_CAP_HOLD": letter(CapHold), "BY_CAP_RESERVED": letter(CapReserved), "BY_CAP_HOLDS": letter(CapHolds),

	// The numbers of a window, its zone and its times, and their places; then its text.
	"WINDOW_FORM": "'>BBI4I4I4I4I6I6I4I4BBI2'", "WINDOW_BYTES": number(WindowBytes),
	"PERIOD": number(1), "FIRST": number(2), "CARRY_HI": number(3), "CARRY_LO": number(4), "AMOUNT_HI": number(5), "AMOUNT_LO": number(6),
	"START": number(7), "MARK": number(8), "ENDED_HI": number(9), "ENDED_LO": number(10),
	"ZONE": number(11), "AHEAD": number(12), "KEPT": number(13), "TEXT": number(14), "RING": number(15),
	// The bytes of a rolling window's ring by its period, and the length of a part in ms.
	"LAST_PERIOD": number(MaxPeriod), "LAST_CALENDAR": number(4), "RINGS": "{ [5] = 200, [6] = 232, [7] = 248 }", "PART_MS": "{ [5] = 3600000, [6] = 21600000, [7] = 86400000 }",
	// An ended epoch has the places of an account up to COMMITTED_LO, then these.
	"EPOCH_FORM": "'>I4I4I4I4I4I4I4I4i4I4I6'", "EPOCH_BYTES": number(EpochBytes),
	"MOVED_HI": number(9), "MOVED_LO": number(10), "EPOCH_END": number(11), "CHANGED": number(12), "DROPPED": number(13),

	"HOLD": "'>BI4I4I6I6I6I6'", "HOLD_HEAD": "'>BI4I4I6I6'", "HOLD_BYTES": number(HoldBytes), "TOMBSTONE_BYTES": number(TombstoneBytes),
	"CONTROL": "'>I6I6I6I6I6I6I4I6'", "CONTROL_BYTES": number(ControlBytes), "SESSION_BYTES": number(SessionBytes),

	"LAYOUT": letter('0' + Layout), "DELETED": "'" + Deleted + "'", "SENTINEL": "'" + Sentinel + "'",
	"OWN_LEVEL":            `'\1'`,
	"SEVERAL":              strconv.FormatInt(SeveralLevels, 10),
	"SESSION_RETENTION_MS": number(SessionRetentionMS), "SESSION_CLOSED_MS": number(600_000),
	"DAMAGE_RETRY_MS": number(60_000), "REBUILD_MS": number(3_600_000), "REBUILD_FIELDS": number(500),
	"MAX_SWEEP": number(640), "PAGE_ENDINGS": number(700),
}
