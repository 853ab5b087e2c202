//go:build faults

package lane

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/internal/simredis"
)

// patchSeeds is the number of schedules of each mode in which a patch must be noticed.
const patchSeeds = 20_000

// A patch breaks one rule in the code that keeps it. The simulation notices it, or the tests
// that it names.
type patch struct{ name, file, old, broken, tests string }

var luaPatches = []patch{
	// Once.
	{"no session check", "batch.lua",
		"if stored[3] ~= ARGV[4] then", "if not stored[3] then", ""},
	{"the session's number alone is checked", "batch.lua",
		"if stored[3] ~= ARGV[4] then", "if not stored[3] or sub(stored[3], 2, 9) ~= sub(ARGV[4], 2, 9) then", ""},
	{"a late batch takes effect", "batch.lua",
		"if now > validUntil then", "if false then", ""},
	{"the stored reply is forgotten", "batch.lua",
		"return call('HGET', ledger, 'r' .. node)", "return 'STALE'", ""},
	{"another batch of the same number gets the stored reply", "batch.lua",
		"if sub(session, 2, 17) == mark and", "if sub(session, 2, 9) == sub(mark, 1, 8) and", ""},
	{"the session's codes are not compared", "batch.lua",
		"if stored[3] ~= ARGV[4] then", "if not stored[3] or sub(stored[3], 1, 23) ~= sub(ARGV[4], 1, 23) then", "TestLateDuplicateInTheSameMillisecond"},
	// Money.
	{"more than the remaining money is held", "decide.lua",
		"if h < 0 then\n\t\t\t\tcode = $CODE_INSUFFICIENT", "if false then\n\t\t\t\tcode = $CODE_INSUFFICIENT", ""},
	{"more than the remaining money is withdrawn", "accounts.lua",
		"if rH < 0 then", "if false then", ""},
	{"an amount goes through a double", "decide.lua",
		"$OPEN .. sub(arguments, position, position + 7)", "$OPEN .. pack('>I8', hi * 4294967296 + lo)", ""},
	{"a hold is released twice", "decide.lua",
		"if state ~= $IS_OPEN then", "if state ~= $IS_OPEN and (kind == $COMMIT or state ~= $IS_RELEASED) then", ""},
	{"a committed hold is committed again", "decide.lua",
		"if state ~= $IS_OPEN then", "if state ~= $IS_OPEN and (kind == $RELEASE or state ~= $IS_COMMITTED) then", ""},
	{"the surplus of a commit is lost", "decide.lua",
		"local restHi, restLo = a[$REMAINING_HI] + heldHi - hi, a[$REMAINING_LO] + heldLo - lo", "local restHi, restLo = a[$REMAINING_HI], a[$REMAINING_LO]", ""},
	{"a commit overruns", "decide.lua",
		"if restHi < 0 and (", "if false and (", ""},
	{"a settled hold keeps its reservation", "decide.lua",
		"a[$RESERVED_HI], a[$RESERVED_LO] = h, l\n\t\t\t\t\ta[$COMMITTED_HI]", "a[$COMMITTED_HI]", ""},
	{"the reply does not say what a release returned", "decide.lua",
		"values[valueCount] = sub(value, 2, 9)", "values[valueCount] = kind == $COMMIT and sub(value, 2, 9) or '\\0\\0\\0\\0\\0\\0\\0\\0'", ""},
	{"an unbalanced account is used", "batch.lua",
		"if low ~= a[$GRANTED_LO] or a[$REMAINING_HI] + a[$RESERVED_HI] + a[$COMMITTED_HI] + (lo - low) / 4294967296 ~= a[$GRANTED_HI]\n\t\tor ", "if ", ""},
	// Counts, serials, sequences.
	{"the count of holds is not kept", "decide.lua",
		"a[$HOLDS], dirty[i] = a[$HOLDS] - 1, true", "dirty[i] = true", ""},
	{"the count of holds is not kept when they expire", "expiry.lua",
		"epoch[$RESERVED_LO], a[$HOLDS], dirty[i] = h, l, a[$HOLDS] - 1, true", "epoch[$RESERVED_LO], dirty[i] = h, l, true", ""},
	{"more holds than allowed", "decide.lua",
		"elseif maxHolds > 0 and a[$HOLDS] >= maxHolds then", "elseif false then", ""},
	{"a tenant with open holds is deleted", "accounts.lua",
		"elseif a[$HOLDS] > 0 or a[$RESERVED_HI] ~= 0 or a[$RESERVED_LO] ~= 0 then", "elseif false then", ""},
	{"a hold of a deleted tenant reaches the recreated one", "decide.lua",
		"if a and number ~= a[$SERIAL] or not a", "if not a", "TestHoldOfARecreatedTenant"},
	{"a hold of a deleted tenant expires into the recreated one", "expiry.lua",
		"if a and (a[$SERIAL] == number or", "if a and (not several or", "TestHoldOfARecreatedTenant"},
	{"a serial is used again", "accounts.lua",
		"lastSerial = lastSerial + 1", "lastSerial = math.max(lastSerial, 5)", ""},
	{"the sequence does not advance", "batch.lua",
		"sequence = sequence + 1\n", "", ""},
	{"a tombstone lacks the sequence of its end", "decide.lua",
		".. sequenceBytes .. actual", ".. sub(value, 16, 21) .. actual", ""},
	// Deadlines.
	{"operations come before due holds end", "expiry.lua",
		"if due ~= 0 and due <= now then", "if false then", ""},
	{"an expired hold is not credited", "expiry.lua",
		"epoch[$REMAINING_HI], epoch[$REMAINING_LO] = plus(epoch[$REMAINING_HI], epoch[$REMAINING_LO], hi, lo)", "", ""},
	{"the deadline of a hold is not the next", "decide.lua",
		"if due == 0 or at < due then", "if false then", ""},
	{"the timers after the ones that are due are forgotten", "expiry.lua",
		"due = first[2] and first[2] + 0 or 0", "due = 0", ""},
	{"an account's earliest deadline is not lowered", "decide.lua",
		"if first == 0 or at < first then", "if false then", ""},
	{"a settled hold stays in its generation", "decide.lua",
		"if since <= a[$TURN] then", "if false then", ""},
	{"an expired hold stays in its generation", "expiry.lua",
		"if since <= a[$TURN] then", "if false then", ""},
	{"a younger hold counts as an older one", "decide.lua",
		"if a[$TURN] == sequence then", "if true then", ""},
	{"a younger hold ends as an older one", "decide.lua",
		"if since <= a[$TURN] then", "if true then", ""},
	{"the deadlines of younger holds are forgotten at their turn", "decide.lua",
		"= a[$YOUNG], 0, a[$HOLDS], sequence", "= 0, 0, a[$HOLDS], sequence", ""},
	{"the deadlines of younger holds are forgotten when older ones expire", "expiry.lua",
		"= a[$YOUNG], 0, a[$HOLDS], sequence", "= 0, 0, a[$HOLDS], sequence", ""},
	{"a merged end stays in its generation", "merge.lua",
		"if was == $IS_OPEN and wasMade <= a[$TURN] then", "if false then", ""},
	{"an overdue account is decided", "expiry.lua",
		"blocked[i] = blocked[i] or $CODE_OVERDUE", "blocked[i] = blocked[i]", ""},
	{"a backlog raises an account's earliest deadline", "expiry.lua",
		"if backlog and (passed or passedToo) then", "if false then", ""},
	{"lost timers count as no backlog", "expiry.lua",
		"local backlog = not whole", "local backlog = false", ""},
	{"a timer ends a hold that is not due", "expiry.lua",
		"if ends > now then", "if false then", "TestTimerAloneEndsNothing"},
	{"timers are whole after the first page of a rebuild", "rebuild.lua",
		"if page[1] ~= '0' then", "if false then", ""},
	{"a rebuild continues without its mark", "rebuild.lua",
		"if not whole and cursor ~= '0' and not call('ZSCORE', timers, mark(cursor)) then", "if false then", ""},
	{"a rebuild continues at another server", "rebuild.lua",
		"'b' .. ARGV[2] .. at .. tostring(redis)", "'b' .. ARGV[2] .. at", ""},
	{"the pages of a rebuild share a mark", "rebuild.lua",
		"'b' .. ARGV[2] .. at .. tostring(redis)", "'b' .. ARGV[2] .. tostring(redis)", "TestRebuildNeedsTheMarkOfThePageBefore"},
	{"timers that a rebuild adds are ignored", "rebuild.lua",
		"call('HSET', ledger, 'c',", "local _ = (", ""},
	// Tombstones.
	{"the tombstone is dropped", "decide.lua",
		"set[size + 1], set[size + 2] = field, value\n", "drop = drop or {}\n\t\t\t\t\tdrop[#drop + 1] = { field }\n\t\t\t\t\tset[size + 1], set[size + 2] = field, value\n", ""},
	{"expired holds go with the ring", "expiry.lua",
		"expired[#expired + 1] = field", "settledSize = settledSize + 1\n\t\t\tsettled[settledSize], expired = field, nil", ""},
	{"merged tombstones go with the ring", "merge.lua",
		"expired[#expired + 1] = field", "settledSize = settledSize + 1\n\t\tsettled[settledSize], expired = field, nil", ""},
	{"the ring keeps everything", "write.lua",
		"(sweeps or ringCount > ringSize) do", "false do", ""},
	// Repair.
	{"a merge lowers", "merge.lua",
		"local higher = order[state] > order[was]", "local higher = true or order[state] > order[was]", ""},
	{"a merge does not undo the stored state", "merge.lua",
		"if was == $IS_OPEN then\n\t\trH, rL = plus", "if false then\n\t\trH, rL = plus", ""},
	{"a merge does not lower an account's earliest deadline", "merge.lua",
		"if ending ~= 0 and (a[generation]", "if false and (a[generation]", ""},
	{"a forgotten settlement is merged", "merge.lua",
		"if session and not never and not refusedAgain(field, session) then", "if false then", "TestDroppedTombstoneIsNotMerged"},
	{"a commit is forgotten whose hold a late duplicate refused", "merge.lua",
		"if session and not never and not refusedAgain(field, session) then", "if session and not never then", "TestLateDuplicateOfALostHold"},
	{"a lost session proves that a hold was never made", "prior.lua",
		"if not session then\n\t\treturn true", "if not session then\n\t\treturn false", "TestSettlementOfALostSessionsHold"},
	{"the batch of a merged id is not invalidated", "merge.lua",
		"if session and name ~= sessionField and", "if false and name ~= sessionField and", "TestLateDuplicateOfALostHold"},
	// Levels.
	{"a reserve skips a level", "levels.lua",
		"if level then\n\t\t\t\tlevel[$REMAINING_HI]", "if level and place == i then\n\t\t\t\tlevel[$REMAINING_HI]", ""},
	{"only the tenant's own money is checked", "levels.lua",
		"short = short or h < hi or h == hi and level[$REMAINING_LO] < lo", "short = short or place == i and (h < hi or h == hi and level[$REMAINING_LO] < lo)", ""},
	{"a level refuses after another was debited", "levels.lua",
		"short = short or h < hi or h == hi and level[$REMAINING_LO] < lo\n", "short = short or h < hi or h == hi and level[$REMAINING_LO] < lo\n\t\t\tif not short and a then\n\t\t\t\tlevel[$REMAINING_HI], level[$REMAINING_LO] = minus(h, level[$REMAINING_LO], hi, lo)\n\t\t\tend\n", ""},
	{"a reserve ignores an overdue level", "levels.lua",
		"code = code or blocked[place]\n\t\tif level then", "code = code or blocked[i]\n\t\tif level then", ""},
	{"a settle ignores an overdue level", "levels.lua",
		"code = code or blocked[place]\n\t\t\t\tif level and", "code = code or blocked[i]\n\t\t\t\tif level and", ""},
	{"Remaining ignores an overdue level", "levels.lua",
		"code = code or blocked[place]\n\t\tplace", "code = code or blocked[i]\n\t\tplace", ""},
	{"more holds than allowed of a tenant with ancestors", "levels.lua",
		"elseif maxHolds > 0 and a[$HOLDS] >= maxHolds then", "elseif false then", ""},
	{"the deadline of an ancestor is not kept", "levels.lua",
		"if at > 0 and (level", "if at > 0 and place == i and (level", ""},
	{"a younger hold of an ancestor counts as an older one", "levels.lua",
		"if level[$TURN] == sequence then", "if true then", ""},
	{"a hold of several levels is settled twice", "levels.lua",
		"if state ~= $IS_OPEN then", "if state ~= $IS_OPEN and state ~= $IS_RELEASED then", ""},
	{"an id reaches the hold of another level", "levels.lua",
		"elseif sub(value, $HOLD_BYTES + 1) ~= sub(fields[i], 2) or a and", "elseif a and", "TestReservationOfAnotherLevel"},
	{"a hold of several levels looks like one of its root", "levels.lua",
		"if part > 1 then\n\t\t\tnewest = newest + $SEVERAL", "if part > 3 then\n\t\t\tnewest = newest + $SEVERAL", ""},
	{"a settle reaches a level that was created after the hold", "levels.lua",
		"if levels % (2 * bit) >= bit then", "if true then", "TestLostHoldIsRestoredAtItsLevels"},
	{"a settle reaches a level that was removed and created again", "levels.lua",
		"if level and level[$SERIAL] <= newest then", "if level then", ""},
	{"an excess is checked at the tenant alone", "levels.lua",
		"(not least or h < leastHi or", "(not least or false and h < leastHi or false and", ""},
	{"an excess that a level does not cover is debited", "levels.lua",
		"elseif short then\n\t\t\tcode = $CODE_OVERRUN", "elseif false then\n\t\t\tcode = $CODE_OVERRUN", ""},
	{"the surplus returns to one level", "levels.lua",
		"if part % (2 * bit) >= bit then", "if place == i then", ""},
	{"a settled hold stays in its generation at its levels", "levels.lua",
		"if since <= level[$TURN] then", "if false then", ""},
	{"a level that does not exist reads as one without money", "holds.lua",
		"parents and '\\128", "false and '\\128", ""},
	{"a hold expires at one level", "expiry.lua",
		"until not name", "until true", ""},
	{"a hold expires at some levels before one is found damaged", "expiry.lua",
		"for pass = several and 1 or 2, 2 do", "for pass = 2, 2 do", ""},
	{"a hold expires at levels that it did not debit", "expiry.lua",
		"several and value:byte($HOLD_BYTES) or 1", "several and 63 or 1", "TestLostHoldIsRestoredAtItsLevels"},
	{"a hold expires into a level that was removed and created again", "expiry.lua",
		"or several and a[$SERIAL] <= number - $SEVERAL) then", "or several) then", ""},
	{"a merge moves one level", "merge.lua",
		"for n = 1, #places do\n\t\tshift(", "for n = 1, 1 do\n\t\tshift(", ""},
	{"a merge moves some levels before one overflows", "merge.lua",
		"hi, lo, ending, true) then", "hi, lo, ending, true) and false then", "TestMergeOverflowsAtOneLevel"},
	{"a merge charges a level that was created since", "merge.lua",
		"elseif a and a[$SERIAL] <= newest then", "elseif a then", "TestMergedCommitSparesALevelCreatedSince"},
	{"a merge does not keep the deadline of an ancestor", "merge.lua",
		"if ending ~= 0 and (a[generation]", "if ending ~= 0 and a == account[1] and (a[generation]", ""},
	{"a page lacks the holds of tenants below", "page.lua",
		" or sub(record, from, from + #tenant) == below then", " then", ""},
	// Settings.
	{"a freeze is ignored", "levels.lua",
		"frozen = frozen or flags % 2 == 1 and bit", "frozen = nil", ""},
	{"a freeze of an ancestor is ignored", "levels.lua",
		"frozen = frozen or flags % 2 == 1 and bit", "frozen = frozen or place == i and flags % 2 == 1 and bit", ""},
	{"a closed level is ignored", "levels.lua",
		"closed = closed or flags % 4 >= 2 and bit", "closed = nil", ""},
	{"a closed ancestor is ignored", "levels.lua",
		"closed = closed or flags % 4 >= 2 and bit", "closed = closed or place == i and flags % 4 >= 2 and bit", ""},
	{"a freeze comes before a close", "levels.lua",
		"code = closed and $CODE_CLOSED or $CODE_FROZEN", "code = frozen and $CODE_FROZEN or $CODE_CLOSED", ""},
	{"the level of a freeze is not named", "levels.lua",
		"values[valueCount] = string.char(closed or frozen)", "values[valueCount] = '\\1'", ""},
	{"settings of a tenant without ancestors are ignored", "decide.lua",
		"parents[i] > 0 or configured and configured[i]\n", "parents[i] > 0\n", ""},
	{"settings count from the next batch", "accounts.lua",
		"configured[i] = true\n", "", ""},
	{"a freeze stops a settle", "levels.lua",
		"elseif wrong then", "elseif a[$FLAGS] % 2 == 1 then\n\t\t\tcode = $CODE_FROZEN\n\t\telseif wrong then", ""},
	{"a cap stops a settle", "levels.lua",
		"elseif wrong then", "elseif a[$SETTINGS] and a[$SETTINGS][$CAP_HOLDS] == a[$HOLDS] then\n\t\t\tcode = $CODE_CAPPED\n\t\telseif wrong then", ""},
	{"a freeze stops an expiry", "expiry.lua",
		"if a and (a[$SERIAL] == number or", "if a and a[$FLAGS] % 2 == 0 and (a[$SERIAL] == number or", ""},
	{"a freeze stops a merge", "merge.lua",
		"elseif not a then\n\t\treturn $CODE_NO_TENANT\n", "elseif not a or a[$FLAGS] % 2 == 1 then\n\t\treturn $CODE_NO_TENANT\n", ""},
	{"a closed account gets a grant", "accounts.lua",
		"elseif a[$FLAGS] % 4 >= 2 then", "elseif false then", ""},
	{"a closed account is configured", "accounts.lua",
		"elseif a[$FLAGS] % 4 >= 2 and set ~= $SET_CLOSED then", "elseif false then", ""},
	{"an unfreeze opens a closed account", "accounts.lua",
		"elseif a[$FLAGS] % 4 >= 2 and set ~= $SET_CLOSED then", "elseif a[$FLAGS] % 4 >= 2 and set == $SET_FROZEN then\n\t\ta[$FLAGS], dirty[i] = a[$FLAGS] - 2, true\n\telseif a[$FLAGS] % 4 >= 2 and set ~= $SET_CLOSED then", ""},
	{"an unfreeze is ignored", "accounts.lua",
		"frozen = flags % 2", "frozen = math.max(frozen, flags % 2)", ""},
	{"every change unfreezes", "accounts.lua",
		"if set % (2 * $SET_FROZEN) >= $SET_FROZEN then", "if true then", ""},
	{"the cap of a hold is ignored", "levels.lua",
		"if (s[$CAP_HOLD_HI] > 0 or s[$CAP_HOLD_LO] > 0) and", "if false and", ""},
	{"the cap of the reserved amount is ignored", "levels.lua",
		"elseif (s[$CAP_RESERVED_HI] > 0 or s[$CAP_RESERVED_LO] > 0) and", "elseif false and", ""},
	{"the cap of the reserved amount ignores the new hold", "levels.lua",
		"plus(level[$RESERVED_HI], level[$RESERVED_LO], hi, lo)\n\t\t\t\t\tlocal w", "level[$RESERVED_HI], level[$RESERVED_LO]\n\t\t\t\t\tlocal w", ""},
	{"the cap of the number of holds is ignored", "levels.lua",
		"elseif s[$CAP_HOLDS] > 0 and", "elseif false and", ""},
	{"one hold more than the cap", "levels.lua",
		"level[$HOLDS] >= s[$CAP_HOLDS]", "level[$HOLDS] > s[$CAP_HOLDS]", ""},
	{"a cap of zero is a cap", "levels.lua",
		"elseif s[$CAP_HOLDS] > 0 and", "elseif true and", ""},
	{"the caps of an ancestor are ignored", "levels.lua",
		"local s = not capped and level[$SETTINGS]", "local s = not capped and place == i and level[$SETTINGS]", ""},
	{"the farthest cap is named", "levels.lua",
		"local s = not capped and level[$SETTINGS]", "local s = level[$SETTINGS]", ""},
	{"money is checked before caps", "levels.lua",
		"elseif capped then", "elseif capped and not short then", ""},
	{"an overdraft is ignored", "levels.lua",
		"if s then\n\t\t\t\t\t\th, l = plus(h, l", "if false then\n\t\t\t\t\t\th, l = plus(h, l", ""},
	{"an overdraft counts at the tenant alone", "levels.lua",
		"if s then\n\t\t\t\t\t\th, l = plus(h, l", "if s and place == i then\n\t\t\t\t\t\th, l = plus(h, l", ""},
	{"a reserve uses an overdraft", "levels.lua",
		"local h, flags = level[$REMAINING_HI], level[$FLAGS]", "local h, flags = level[$REMAINING_HI] + (level[$SETTINGS] and level[$SETTINGS][$OVERDRAFT_HI] or 0), level[$FLAGS]", ""},
	{"an excess goes one beyond the overdraft", "levels.lua",
		"short = plus(leastHi, leastLo, backHi, backLo) < 0", "short = plus(leastHi, leastLo, backHi, backLo + 1) < 0", "TestOverdraftIsExact"},
	{"an excess ends one before the overdraft", "levels.lua",
		"short = plus(leastHi, leastLo, backHi, backLo) < 0", "short = plus(leastHi, leastLo, minus(backHi, backLo, 0, 1)) < 0", "TestOverdraftIsExact"},
	{"an overrun names the tenant", "levels.lua",
		"leastHi, leastLo, least = h, l, bit", "leastHi, leastLo, least = h, l, least or bit", ""},
	{"an unpaid part is charged", "levels.lua",
		"hi, lo = plus(heldHi, heldLo, leastHi, leastLo)\n", "", ""},
	{"a CommitAvailable looks at the tenant alone", "levels.lua",
		"if short and kind == $COMMIT_AVAILABLE then\n", "if short and kind == $COMMIT_AVAILABLE then\n\t\t\t\tif a then\n\t\t\t\t\tleastHi, leastLo = a[$REMAINING_HI], a[$REMAINING_LO]\n\t\t\t\tend\n", ""},
	{"a CommitAvailable is refused", "levels.lua",
		"if short and kind == $COMMIT_AVAILABLE then\n", "if short and false then\n", ""},
	{"a CommitAvailable pays debts", "levels.lua",
		"if leastHi < 0 then", "if false then", "TestCommitAvailable"},
	{"a CommitAvailable overflows by the asked amount", "levels.lua",
		"elseif plus(mostHi, mostLo, hi, lo) > 2147483647 then", "elseif plus(mostHi, mostLo, hi, lo) > 2147483647 or kind == $COMMIT_AVAILABLE and plus(mostHi, mostLo, read('>I4I4', arguments, position - 8)) > 2147483647 then", ""},
	{"the reply lacks the charged amount", "levels.lua",
		"values[valueCount], paid = values[valueCount] .. actual, (paid or '') .. actual", "paid = (paid or '') .. actual", ""},
	{"the session lacks the charged amount", "write.lua",
		"if paid then", "if false then", ""},
	{"an overdraft and a budget overflow", "accounts.lua",
		"or plus(gH, gL, settings[$OVERDRAFT_HI], settings[$OVERDRAFT_LO]) > 2147483647\n", "\n", ""},
	{"a grant and an overdraft overflow", "accounts.lua",
		"if (s and plus(gH, gL, s[$OVERDRAFT_HI], s[$OVERDRAFT_LO]) or gH) > 2147483647 then", "if gH > 2147483647 then", ""},
	{"settings survive their account", "accounts.lua",
		"lastSerial, 0, 0, 0, 0, 0, '' }", "lastSerial, 0, 0, 0, 0, 0, stored[3 + i] or '' }", "TestSettingsEndWithTheAccount"},
	{"a change replaces settings that it does not name", "accounts.lua",
		"set % (2 * bit) >= bit and new or tail", "new", ""},
	{"a change of thresholds is ignored", "accounts.lua",
		"choose($SET_THRESHOLDS, 2 * $MAX_THRESHOLDS + 1)", "choose(512, 2 * $MAX_THRESHOLDS + 1)", ""},
	{"settings of zero are stored", "accounts.lua",
		"if tail == string.rep('\\0', $SETTINGS_BYTES) and not w then", "if false then", "TestRemovedSettingsTakeNoRoom"},
	{"another change loses the settings", "write.lua",
		"(a[$TAIL] or sub(a[$RECORD], $ACCOUNT_BYTES + 1))", "(a[$TAIL] or '')", ""},
	{"a threshold is crossed twice", "thresholds.lua",
		"if after[settings[n]] and not before[settings[n]] then", "if after[settings[n]] then", ""},
	{"a threshold is never crossed", "thresholds.lua",
		"if after[settings[n]] and not before[settings[n]] then", "if false then", ""},
	{"each operation of a batch crosses a threshold", "thresholds.lua",
		"\ta[$REACHED] = after\n", "", ""},
	{"a settlement crosses no threshold", "levels.lua",
		"if level[$SETTINGS] then\n\t\t\t\t\t\tcross(place)", "if false then\n\t\t\t\t\t\tcross(place)", ""},
	{"a withdrawal crosses no threshold", "accounts.lua",
		"if a[$SETTINGS] then\n\t\tcross(i)", "if kind ~= $WITHDRAW and a[$SETTINGS] then\n\t\tcross(i)", ""},
	{"a grant arms no threshold", "accounts.lua",
		"if a[$SETTINGS] then\n\t\tcross(i)", "if kind == $WITHDRAW and a[$SETTINGS] then\n\t\tcross(i)", "TestThresholdsAreCrossedOnce"},
	{"a merge crosses no threshold", "merge.lua",
		"if account[places[n]][$SETTINGS] then", "if false then", ""},
	{"a threshold is crossed above it", "thresholds.lua",
		"costHi == shareHi and costLo >= shareLo", "costHi == shareHi and costLo > shareLo", "TestThresholdsAreCrossedOnce"},
	{"an account without money has reached its thresholds", "thresholds.lua",
		"if settings and (a[$COMMITTED_HI] > 0 or a[$COMMITTED_LO] > 0) then", "if settings then", "TestThresholdsAreCrossedOnce"},
	{"a crossing is not flagged", "write.lua",
		"flags, valueCount = flags + 8, valueCount + 1", "valueCount = valueCount + 1", ""},
	{"settings that are cut short are used", "batch.lua",
		"if flags > $ACCOUNT_FLAGS or tail < $SETTINGS_BYTES then", "if flags > $ACCOUNT_FLAGS then", "TestDamagedSettings"},
	{"unknown flags are used", "batch.lua",
		"if flags > $ACCOUNT_FLAGS or tail < $SETTINGS_BYTES then", "if tail < $SETTINGS_BYTES then", "TestDamagedWindows"},
	{"too many thresholds are used", "batch.lua",
		"if count > $MAX_THRESHOLDS or flags", "if flags", "TestDamagedSettings"},
	{"settings of another length are used", "batch.lua",
		"or flags < $HAS_WINDOW and rest ~= 0 or", "or", "TestDamagedSettings"},
	{"a negative overdraft is used", "batch.lua",
		"or settings[$OVERDRAFT_HI] > 2147483647 or", "or", "TestDamagedSettings"},
	{"thresholds in disorder are used", "batch.lua",
		"if settings[n] <= last or", "if", "TestDamagedSettings"},
	{"a threshold that is too large is used", "batch.lua",
		" or settings[n] > $MAX_THRESHOLD then", " then", "TestDamagedSettings"},
	// Damage and partitions.
	{"a partition of another number of partitions is used", "open.lua",
		"elseif sub(header, 1, #ARGV[4]) ~= ARGV[4] then", "elseif false then", "TestAnotherNumberOfPartitions"},
	{"a partition that was recreated is used", "batch.lua",
		"if stored[1] ~= ARGV[3] then", "if not stored[1] then", "TestRecreatedPartition"},
	{"a hold that is cut short is settled", "decide.lua",
		"if value and #value >= $HOLD_BYTES then", "if value then", ""},
}

var goPatches = []patch{
	{"a lost session starts again at a new number", "lane.go",
		"l.openNumber = l.opened\n", "l.openNumber = 0\n", ""},
	{"a batch is given up without an empty one", "failure.go",
		"\tl.superseded, l.phase = b, givingUp\n", "\tl.fail(b, func(*Call) error { return ErrUnavailable })\n\tl.phase = givingUp\n", ""},
	{"a batch is given up under its own number", "failure.go",
		"reset(l.node.nextNumber())", "reset(b.number)", "TestRejectedRepeatOfALostReserveIsReleased"},
	{"a lost batch is sent again under a new number", "failure.go",
		"if !b.lost && l.superseded == nil {\n\t\t\t// Its bytes", "if l.superseded == nil {\n\t\t\t// Its bytes", ""},
	{"a lost reply counts as a refusal", "failure.go",
		"\t\tb.lost = true\n\tcase FailureUnsent", "\t\tl.pending, l.phase = nil, ready\n\t\tl.requeue(b)\n\t\treturn\n\tcase FailureUnsent", ""},
	{"a repeat that meets full memory is refused", "failure.go",
		"\t\t\tl.pending.lowMemory = true\n", "\t\t\tb := l.pending\n\t\t\tl.pending, l.phase = nil, ready\n\t\t\tl.fail(b, func(*Call) error { return ErrOutOfMemory })\n", ""},
	{"an abandoned reserve is not released", "resolve.go",
		"&& makes && answers[i].Outcome == budget.Reserved {", "&& makes && id.IsZero() {", ""},
	{"an abandoned lookup releases", "resolve.go",
		"&& makes && answers", "&& (makes || true) && answers", "TestAbandonedLookupReleasesNothing"},
	{"a gap is not repaired", "refusal.go",
		"l.startRepair(last)", "l.merges = nil", ""},
	{"a lost session is not repaired", "refusal.go",
		"l.startRepair(appliedBatch{node: l.session.node})", "l.merges = nil", ""},
	{"a gap is ignored", "refusal.go",
		"l.recordAbandoned(b)\n\t\tl.requeue(b)\n\t\tl.resolveDeferred(last)\n\t\tif given != nil {\n\t\t\tl.end(given, Lost)", "l.requeue(b)\n\t\treturn\n\t\tif given != nil {\n\t\t\tl.end(given, Lost)", ""},
	{"commits are not in the journal", "repair.go",
		"case a.Outcome == budget.Committed && p.settles:", "case a.Outcome == budget.Committed && c.retried:", ""},
	{"holds are not in the journal", "repair.go",
		"case a.Outcome == budget.Reserved && p.makes:", "case a.Outcome == budget.Reserved && c.retried:", ""},
	{"an applied batch of another time counts as the acknowledged one", "journal.go",
		"s.at == b.session.Time() && b", "b", "TestJournalKeepsTheLatestState"},
	{"another result at the same time counts as the acknowledged one", "journal.go",
		"return a.code != 0 && b.codeOf(a) == a.code", "return a.number == b.session.Number()", "TestJournalKeepsTheLatestState"},
	{"a call that a late duplicate carried out is repeated", "refusal.go",
		"\t\tid, late := last.tookEffect(c)\n", "\t\tid, late := last.tookEffect(c)\n\t\tlate = late && c.properties().makes\n", "TestDeferredCallTakesEffectOnce"},
	{"the hold of a late duplicate is not released", "refusal.go",
		"\t\t\tmade = append(made, id)\n", "\t\t\t_ = id\n", "TestDeferredCallTakesEffectOnce"},
	{"a grant that a late duplicate carried out counts as lost", "journal.go",
		" || slices.ContainsFunc(g.deferred, b.changed)", "", "TestDeferredGrantIsNotLost"},
	{"a hold that a late duplicate made again is merged again", "journal.go",
		"return s.state == luascripts.HoldOpen && s.hi", "return s.state == 0 && s.hi", "TestJournalKeepsTheLatestState"},
	{"equal batches of clones have one digest", "lane.go",
		"Seed:       l.node.config.Entropy(),\n", "\n", "TestClonesMakeTheSameCall"},
	{"a clone is not noticed", "refusal.go",
		"if g.Session.Number() > acknowledged || g", "if g", "TestGivingUpEnds"},
	{"a session that a clone closed is used", "refusal.go",
		" || g.Session.Number() == acknowledged && g.Session.State() == luascripts.SessionClosed {", " {", "TestClonedBatchIsSentAgain"},
	{"a late duplicate of the node's own batch passes for a clone", "refusal.go",
		"acknowledged := l.session.acknowledged\n\tl.session.last", "acknowledged := l.session.last.Number()\n\tl.session.last", "TestLateDuplicateAfterALossIsNotAClone"},
	{"a closed session is used", "opening.go",
		" || o.Session.State() == luascripts.SessionClosed", "", "TestClosedSessionIsNotUsed"},
	{"an expired batch prolongs the session", "refusal.go",
		"time.Duration(l.session.time-l.session.last.Time())*time.Millisecond + ", "", "TestRetentionEndsAfterAnExpiredBatch"},
	{"an overdue call is answered", "resolve.go",
		"if answers[i].code == luascripts.CodeOverdue || ", "if ", ""},
	{"a batch is made before an overdue call is queued again", "resolve.go",
		"string(luascripts.CodeOverdue) + ", "", "TestEarlyReply"},
	{"a batch is made before a failed release is queued again", "resolve.go",
		"func(c *Call) bool { return c.retried })", "func(c *Call) bool { return false })", "TestEarlyReply"},
	{"a batch is made before an abandoned hold is released", "lane.go",
		"return c.state.Load() != callSent })", "return false })", "TestEarlyReply"},
	{"a rebuild continues after a lost reply", "failure.go",
		"if l.phase = ready; f == FailureLost || f == FailureUnknown {", "if l.phase = ready; false {", "TestRebuildRestartsAfterALostReply"},
	{"lost timers are not rebuilt", "resolve.go",
		"if flags&luascripts.FlagNotWhole != 0 && l.rebuild == \"\" {", "if false {", ""},
	{"nothing is swept", "lane.go",
		"case l.alternate && l.backlog:", "case false:", "TestOverdueCallsAreRepeated"},
	{"a partition is created over the timers of a lost one", "opening.go",
		"len(found) == 0 {", "len(found) >= 0 {", "TestLostLedgerWithTimers"},
	{"the tie goes to the farther level", "decode.go",
		"remaining[place] < remaining[least] {", "remaining[place] <= remaining[least] {", "TestLevels"},
	{"the node replays one level", "decode.go",
		"remaining[place] += change\n", "if place == int16(b.places[call]) {\n\t\t\tremaining[place] += change\n\t\t}\n", ""},
	{"a level that does not exist takes part", "decode.go",
		"if set&bit == 0 || remaining[place] == store.NoAccount {", "if set&bit == 0 {", ""},
	{"a deleted level takes part later in its batch", "decode.go",
		"if code == luascripts.CodeDeleted && b.nested {", "if false {", ""},
	{"a batch lacks an ancestor", "batch.go",
		"at = b.addAccount(parent)\n\t\t}\n", "b.tenants, b.parents = append(b.tenants, parent), append(b.parents, store.NoParent)\n\t\t\tat = place + 1\n\t\t\tb.byName[parent] = at\n\t\t}\n", ""},
	{"the journal forgets the levels of holds", "repair.go",
		"state{state: luascripts.HoldOpen, amount: c.amount, levels: a.levels}", "state{state: luascripts.HoldOpen, amount: c.amount, levels: store.OwnLevel}", "TestLostHoldIsRestoredAtItsLevels"},
	{"a lost hold debits a level that was created since", "batch.go",
		"e.Levels(c.merged.levels)", "e.Levels(store.AllLevels)", "TestLostHoldIsRestoredAtItsLevels"},
	{"an audit counts holds at their tenants alone", "../store/sightings.go",
		"range LevelsOf(hold.Tenant, hold.Levels) {", "range LevelsOf(hold.Tenant, OwnLevel) {", ""},
	// Settings.
	{"a lost freeze is not repeated", "repair.go",
		"case g.stops() && !has &&", "case false && !has &&", ""},
	{"a freeze is repeated although the node has unfrozen the account since", "repair.go",
		"delete(stopped, g.tenant)", "_ = stopped", "TestLostFreezeIsRepeated"},
	{"a lost freeze is repeated in place of a lost close", "repair.go",
		"&& (stopped[g.tenant] == nil || !stopped[g.tenant].SetClosed):", "&& stopped[g.tenant] == nil:", "TestLostFreezeIsRepeated"},
	{"settings are not in the journal", "repair.go",
		", a.Outcome == budget.Withdrawn, a.Outcome == budget.Configured:", ", a.Outcome == budget.Withdrawn:", ""},
	{"a late duplicate that paid another amount counts as the acknowledged one", "repair.go",
		"done.code = 0 // ", "_ = done // ", "TestLateDuplicatePaysAnotherAmount"},
	{"the session lacks the paid amounts", "decode.go",
		"if !slices.ContainsFunc(b.calls", "if true || !slices.ContainsFunc(b.calls", ""},
	{"the shortfall is not returned", "decode.go",
		"a.Shortfall = c.amount - a.Actual\n", "", ""},
	{"the node takes the asked amount for the charged one", "decode.go",
		"a.Actual = r.Amount()\n", "_ = r.Amount()\n", ""},
	{"a refusal by settings names the tenant", "decode.go",
		"\t\ta.Level = level\n", "\t\ta.Level = c.tenant\n\t\t_ = level\n", ""},
	{"a crossing is not reported", "resolve.go",
		"l.node.config.Observer.Crossed(c)\n", "", "TestThresholdsAreCrossedOnce"},
	{"a configure sends its cap of a hold as another", "../store/settings.go",
		"\te.Amount(s.CapHold)\n\te.Amount(s.CapReserved)\n", "\te.Amount(s.CapReserved)\n\te.Amount(s.CapHold)\n", ""},
	{"the first tenant keeps its turn", "queue.go",
		"\t} else {\n\t\tq.pushTenant(t)\n\t}\n\treturn c", "\t} else {\n\t\tt.next = q.first\n\t\tif q.first = t; q.last == nil {\n\t\t\tq.last = t\n\t\t}\n\t}\n\treturn c", "TestTenantsTakeTurns"},
}

var noticed = regexp.MustCompile(`seed (\d+): (.*)`)

func TestPatchesToTheLuaAreNoticed(t *testing.T) {
	for _, p := range slices.Concat(luaPatches, luaWindowPatches, luaRollingPatches) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if p.tests != "" {
				p.runWithLua(t)
				return
			}
			shipped := composeSources([]replacement{{p.file, p.old, p.broken}})
			small := composeSources(slices.Concat([]replacement{{p.file, p.old, p.broken}}, simBounds))
			server := simredis.NewServer()
			for seed := range uint64(patchSeeds) {
				for mode, m := range simModes {
					s := newSimulation(server, seed, m, nil)
					if s.scripts = shipped; server.ScanFields > 0 {
						s.scripts = small
					}
					if wrong := s.run(); len(wrong) > 0 {
						t.Logf("%s, seed %d: %.150s", mode, seed, wrong[0])
						return
					}
				}
			}
			t.Fatalf("not noticed in %d schedules of each mode", patchSeeds)
		})
	}
}

func TestPatchesToTheLaneAreNoticed(t *testing.T) {
	for _, p := range slices.Concat(goPatches, goWindowPatches, goRollingPatches) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(t, p.file)
		})
	}
}

// runWithLua runs the patch's tests with the broken Lua.
func (p patch) runWithLua(t *testing.T) {
	t.Helper()
	r := replacement{p.file, p.old, p.broken}
	composeSources([]replacement{r}) // panics if the text is outdated
	broken, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	p.check(t, exec.CommandContext(ctx, os.Args[0], "-test.run", "^("+p.tests+")$", "-sim.broken", string(broken)))
}

// run runs tests of the package as it is with the broken file.
func (p patch) run(t *testing.T, file string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), p.old); n != 1 {
		t.Fatalf("%s has %q %d times, want once", p.file, p.old, n)
	}
	file, err = filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	broken, overlay := filepath.Join(folder, "broken"+filepath.Ext(file)), filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(source), p.old, p.broken, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{file: broken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	args := []string{"test", "-vet=off", "-ldflags=-w", "-overlay", overlay, "."}
	if p.tests == "" {
		args = append(args, "-run", "^TestSimulation$", "-sim.schedules", strconv.Itoa(patchSeeds))
	} else {
		args = append(args, "-run", "^("+p.tests+")$")
	}
	p.check(t, exec.CommandContext(ctx, "go", args...))
}

// check checks that a command's tests fail.
func (p patch) check(t *testing.T, command *exec.Cmd) {
	t.Helper()
	out, err := command.CombinedOutput()
	found := noticed.FindStringSubmatch(string(out))
	switch {
	case err == nil, p.tests == "" && found == nil, !strings.Contains(string(out), "--- FAIL"):
		t.Fatalf("not noticed: %v\n%.2000s", err, out)
	case found != nil:
		t.Logf("seed %s: %.150s", found[1], found[2])
	default:
		t.Logf("%s fails", p.tests)
	}
}
