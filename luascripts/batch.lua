-- batch: applies a numbered batch of operations to a partition, in order.
-- uses: ledger.lua; then expiry.lua, holds.lua, decide.lua, write.lua follow in this script
--
-- KEYS  1 ledger   2 timers
-- ARGV  1 node (8 bytes), hold TTL in ms (48 bits, 0: none), retention of tombstones
--         in ms (48), tombstones in the ring (32), most open holds of an account (32, 0: any)
--       2 clock in Unix ms, decimal; '' for the server's
--       3 the partition's header f   4 the session as the node knows it
--       5 number of this batch and digest of its arguments (64 bits each)
--       6 partition time until which the batch may take effect (48), features (8: 1 it has
--         accounts of limits, 2 it changes settings), accounts A (8);
--         of a merge also the last batch before the repair (64), 1 while more follows (8);
--         if a tenant has an ancestor or a limit, then the next account of each, one byte each:
--         the place of its tenant's next limit, or after the last one that of the parent, 1
--         the first, 0 for none
--       7 kinds, one byte an operation
--       8 account of each operation, one byte each, 1 the first; '' if A is 1
--       9 arguments, end to end:
--           reserve: cost (64), hold field (17 bytes); with its own TTL also the TTL (48)
--           commit, commit available, ensure, grant, withdraw: amount (64)
--           ensure with settings: amount (64), change; configure: change. A change is the
--             set of settings that it changes (8), flags of the account (8), settings, and
--             if it changes the window, then its period, first day, zone's length (8 each),
--             carry-over, amount (64 each), zone; then the number of changes of limits (8),
--             and for each its period, 1 if it is removed, else 0 (8 each), and settings and
--             window in the same form
--           renew: time from which boundaries are missing (48), number of passed ones that
--             are left out (32), period, first day, zone's length, number of boundaries (8
--             each), zone, and boundaries (48 each)
--           epoch: time (48)
--           merge: state (1 byte), amount (64), made or ended (48), deadline (48), and
--             levels (8) if the tenant has a parent, or the batch has limits of it
--      10 A account fields, with each tenant its limits, in the order of their periods, and
--         those of all its ancestors, then a hold field for each commit, release, lookup, merge
-- Reply A, time (48), flags (8), a code an operation; if flag 32 is set, the number of accounts
--         of which the batch lacks a limit (8), and for each the account, and the set of the
--         periods of its limits (8 each); if flag 16 is set, the windows, which only refused
--         reserves, Remaining, code w and settles into ended epochs need: the
--         number of accounts with one (8), for each the account (8), its next boundary (48),
--         and if that is 0, then the time from which boundaries are missing (48), period,
--         first day, zone's length (8 each), zone; then the number of settles into ended
--         epochs (16), and for each and each of its accounts the operation (16, the first is
--         0), the account (8), and what remains of it then (64); the remaining of each
--         account as the first operation met it (64 each; -2^63 if it doesn't exist, and the
--         accounts that follow others are given), then values in the order of operations:
--         committed, released: held (64), and if the tenant has a parent or limits, the
--           accounts that the settle moved, as a set (8, with feature 1 48) in which bit n is
--           the nth one after the tenant's
--           and of commit available the committed amount (64)
--         overrun: the account that refuses, as such a set, if the tenant has a parent or limits
--         of a reserve, closed and frozen: the level that refuses, as a set (8)
--         capped: the level (8), the cap (1 byte), its limit (64)
--         balance, deleted, holds open: granted, reserved, committed, open holds (64
--           each), then as configured
--         configured: flags of the account (8), its settings, its window and its limits if it
--           has any, and with a window what remains (64); then of a configure for each limit
--           that it has set what remains (64)
--         limits: their number (8), and for each the account (8), then as balance
--         epoch: granted, remaining, reserved, committed (64 each), start, end (48 each),
--           then as configured
--         renewed: remaining (64)
--         known: state (1 byte), amount (64), made or ended (48), deadline (48)
--       if flag 8 is set, the number of crossed thresholds (16), and for each the account
--         (8), percent (16), committed, granted (64 each);
--       and the damaged field if flag 4 is set.
--       Flags: 1 more is due, 2 the timers are not whole (run rebuild), 4 damage was met,
--       8 thresholds were crossed, 16 the windows follow, 32 limits are lacking
-- or    NOPARTITION, LAYOUT n, INCARNATION header, NOSESSION, CLONED, STALE,
--       GAP and the session, its length in front (16), and its reply; EXPIRED time,
--       CORRUPT field
--
-- Invariant: for every account remaining + reserved + committed = granted before and
-- after; reserved and the count of holds are those of the open holds whose levels contain
-- it; nothing is written unless the batch is admitted, and then all of it, with the
-- session, by one HSET. An account that cannot be read or has an overdue hold that could
-- not be ended yet refuses the operations on it and no others.
local byte, ledger, timers, clock = string.byte, KEYS[1], KEYS[2], ARGV[2]
local node, ttl, retention, ringSize, maxHolds = read('>c8I6I6I4I4', ARGV[1])
local mark, terms, kinds, accountOf, arguments = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local validUntil, features, accounts = read('>I6BB', terms)
local changesSettings = features >= $BATCH_SETTINGS
local operations, parents = #kinds, #terms > $FLAT_BYTES and { byte(terms, $FLAT_BYTES + 1, -1) }
local sessionField = 's' .. node
local stored = call('HMGET', ledger, 'f', 'c', sessionField, unpack(ARGV, 10))
if stored[1] ~= ARGV[3] then
	return refusePartition(stored[1])
end

-- Every batch takes effect once: number n is admitted only if the session is the one
-- that its node knows, and the HSET that moves the money moves the session to n. A
-- promoted replica may apply a late duplicate again, with another result; since the
-- session has the codes of its batch, the node then finds a gap.
if stored[3] ~= ARGV[4] then
	local session = stored[3]
	if not session then
		return 'NOSESSION'
	elseif #session < $SESSION_BYTES then
		return 'CORRUPT ' .. sessionField
	end
	local last, number = read('>I8', session, 2), read('>I8', mark)
	if sub(session, 2, 17) == mark and sub(session, 1, 1) ~= $SESSION_CLOSED then
		return call('HGET', ledger, 'r' .. node)
	elseif last == number and sub(session, 1, 1) ~= $SESSION_CLOSED then
		return 'CLONED'
	elseif last >= number then
		return 'STALE'
	end
	return 'GAP ' .. pack('>I2', #session) .. session .. (call('HGET', ledger, 'r' .. node) or '')
end

if #(stored[2] or '') < $CONTROL_BYTES then
	return 'CORRUPT c'
end
local time, due, sequence, lastSerial, ringHead, ringTail, ringCount, endings = read($CONTROL, stored[2])
local now = clockTime(time, clock)
if now > validUntil then
	return 'EXPIRED ' .. format('%d', now) -- time never goes back, so it never will
end
sequence = sequence + 1
local nowBytes = pack('>I6', now)
local flags, damaged = 0, nil

-- Whether an account has a window; the ended epochs that were read, by field; and the
-- functions of windows.lua, places.lua and thresholds.lua.
local windowed, epochs, epochOf, passOn, coverOf, partOf, addToPart, enter, renewsAt, windowText = false, nil, nil, nil, nil, nil, nil, nil, nil, nil
local accountsOf, reached, cross = nil, nil, nil

-- The function of settings.lua. What readAccount captures costs every batch.
local parse = nil

-- readAccount returns the account of a record as a list: its numbers, then the record, and
-- its settings, if it has any, as a list of numbers with the thresholds at the end, and its
-- window. It returns nil without an account, and $CODE_CORRUPT too if the record is damaged.
-- No older hold is due before $DEADLINE, no younger one before $YOUNG (0: none has a
-- deadline). The older ones, of which $OLDER are open, were made up to sequence $TURN.
local function readAccount(record)
	if not record or record == $DELETED then
		return nil
	end
	local tail = #record - $ACCOUNT_BYTES
	if tail < 0 then
		return nil, $CODE_CORRUPT
	end
	local a = { read($ACCOUNT, record) }
	local lo = a[$REMAINING_LO] + a[$RESERVED_LO] + a[$COMMITTED_LO]
	local low = lo % 4294967296
	if low ~= a[$GRANTED_LO] or a[$REMAINING_HI] + a[$RESERVED_HI] + a[$COMMITTED_HI] + (lo - low) / 4294967296 ~= a[$GRANTED_HI]
		or a[$RESERVED_HI] > 2147483647 or a[$COMMITTED_HI] > 2147483647 then
		return nil, $CODE_CORRUPT
	end
	a[$RECORD] = record
	local flags = a[$FLAGS]
	if flags < $HAS_SETTINGS then
		if tail > 0 then
			return nil, $CODE_CORRUPT
		end
	else
		if flags > $ACCOUNT_FLAGS or tail < $SETTINGS_BYTES then
			return nil, $CODE_CORRUPT
		end
		local at = $ACCOUNT_BYTES + $SETTINGS_BYTES + 2 * string.byte(record, $ACCOUNT_BYTES + $SETTINGS_BYTES) + 1
		local limits = flags >= $HAS_LIMITS and string.byte(record, -1) or 0
		local rest, windows = #record - at + 1, flags % $HAS_LIMITS >= $HAS_WINDOW
		if limits > 0 then
			a[$LIMITS], rest = limits, rest - 1
		end
		if not windows and rest ~= 0 or windows and rest < $WINDOW_BYTES
			or flags % $HAS_WINDOW < $HAS_SETTINGS or limits > $ALL_PERIODS or flags >= $HAS_LIMITS and limits == 0 then
			return nil, $CODE_CORRUPT
		end
		if not parse then
			-- Here stands settings.lua.
			$ON_SETTINGS
		end
		local text = sub(record, $ACCOUNT_BYTES + 1, at - 1)
		local settings = parse(text)
		if not settings then
			return nil, $CODE_CORRUPT
		end
		a[$SETTINGS], a[$TAIL] = settings, text
		if windows then
			local w = { read($WINDOW_FORM, record, at) }
			local zone, ahead, kept = w[$ZONE], w[$AHEAD], w[$KEPT]
			local ring = w[$PERIOD] > $LAST_CALENDAR and ($RINGS)[w[$PERIOD]] or 0
			if rest ~= $WINDOW_BYTES + zone + 6 * (ahead + kept) + ring then
				return nil, $CODE_CORRUPT
			end
			local from = at + $WINDOW_BYTES
			local calendar = parse(sub(record, from - 4, from + zone + 6 * ahead - 1), zone, ahead)
			w[$ZONE], w[$AHEAD] = calendar[1], calendar[2]
			w[$KEPT] = kept > 0 and parse(sub(record, from + zone + 6 * ahead, at + rest - ring - 1), -4, kept)[2] or {}
			w[$RING] = ring > 0 and sub(record, at + rest - ring, at + rest - 1)
			local wrong = not calendar[3] or w[$PERIOD] > $LAST_PERIOD or ahead > 0 and w[$AHEAD][1] <= w[$START]
				or w[$CARRY_HI] > 2147483647 or w[$AMOUNT_HI] > 2147483647 or w[$ENDED_HI] > 2147483647
			local last = w[$AHEAD][ahead] or w[$START]
			if ring == 0 then
				wrong = wrong or w[$MARK] < last
			else
				local hi, lo = 0, 0
				for position = 1, ring, 8 do
					local partHi, partLo = read('>I4I4', w[$RING], position)
					wrong, hi, lo = wrong or partHi > 2147483647, plus(hi, lo, partHi, partLo)
				end
				wrong = wrong or ahead > 0 or w[$MARK] % ($PART_MS)[w[$PERIOD]] ~= 0 or hi ~= a[$COMMITTED_HI] or lo ~= a[$COMMITTED_LO]
			end
			last = w[$START]
			for n = 1, kept do
				wrong, last = wrong or w[$KEPT][n] >= last, w[$KEPT][n]
			end
			if wrong then
				return nil, $CODE_CORRUPT
			end
			a[$WINDOW], w[$TEXT], windowed = w, sub(record, at, at + rest - 1), true
		end
	end
	return a
end

-- The accounts by their place in the batch, the changed ones (dirty), the codes of those
-- that refuse their operations (blocked), and which have flags or settings (configured, nil
-- if none has). Most batches are small: a table made with room for its first entries costs
-- half as much as one that has to grow.
local account, fields, dirty, blocked, configured = { nil }, { nil }, { nil }, {}, nil
for i = 1, accounts do
	local a, code = readAccount(stored[3 + i])
	fields[i] = ARGV[9 + i]
	if a then
		account[i] = a
		if a[$FLAGS] ~= 0 then
			configured = configured or {}
			configured[i] = true
		end
	elseif code then
		blocked[i] = code
	end
end
local loaded = accounts -- expiry may read more of them
local crossed, crossings = 0, nil
-- The periods of the accounts of limits, by place, nil if there are none. They follow the
-- account of their tenant.
local periodOf, checkLimit = nil, nil
if features % 2 >= $BATCH_LIMITS then
	-- Here stands limits.lua.
	$ON_LIMITS
	periodOf = { nil }
	for i = 1, accounts do
		local period = byte(fields[i], 2)
		periodOf[i] = period <= $LAST_PERIOD and period or nil
		checkLimit(i)
	end
end
local lacks = nil -- accounts with limits that the batch lacks

-- The writes to come: arguments of HSET and ZADD; holds that operations settled; holds
-- that a deadline or a repair ended; timers to remove; lists of fields to delete.
local set, size, timed, timedSize, settled, settledSize = { nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }, 0, { nil, nil }, 0, { nil }, 0
local expired, remove, drop = nil, nil, nil
-- The records of holds that this batch has changed, by field.
local became = {}

local function schedule(at, member)
	timed[timedSize + 1], timed[timedSize + 2] = format('%d', at), member
	timedSize = timedSize + 2
	if due == 0 or at < due then
		due = at
	end
end
