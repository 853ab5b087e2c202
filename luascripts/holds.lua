-- holds: what operations need to know of holds, and where they leave their results.
-- uses: batch.lua's locals
--
-- Invariant: an id reaches a hold of its own tenant and no other.
local byte = string.byte
local codes, values, valueCount, before = {}, {}, 0, {}
for i = 1, accounts do
	if blocked[i] == $CODE_CORRUPT or not gh[i] then
		before[i] = '\0\0\0\0\0\0\0\0'
	elseif dirty[i] then
		before[i] = pack('>i4I4', rh[i], rl[i])
	else
		before[i] = sub(stored[3 + i], 9, 16)
	end
end
local position = 1 -- of the next argument
local named = 1 -- the next named hold
local sequenceBytes = pack('>I6', sequence)

-- ownedBy returns the end of a new hold's record: serial, sequence, levels and tenant.
local owned = {}
local function ownedBy(i)
	local text = pack('>I6', serial[i]) .. sequenceBytes .. $OWN_LEVEL .. sub(fields[i], 2)
	owned[i] = text
	return text
end

-- owns reports whether a hold is account i's: an id under another tenant's name, or
-- of an account that was deleted and created again, reaches nothing.
local function owns(i, value, number)
	if gh[i] then
		return serial[i] == number
	end
	return sub(value, $HOLD_BYTES + 1) == sub(fields[i], 2)
end

-- neverApplied reports whether the batch that made an id is beyond its node's session,
-- so that this partition never had it. An id is node (64), number (54), index (10).
local function neverApplied(field)
	local session = call('HGET', ledger, 's' .. sub(field, 2, 9))
	if not session or #session < $SESSION_BYTES then
		return false, session
	end
	local last = read('>I8', session, 2)
	if sub(session, 1, 1) == $SESSION_REPAIRING and #session >= $SESSION_BYTES + 8 then
		last = read('>I8', session, $SESSION_BYTES + 1)
	end
	if $MERGES and 's' .. sub(field, 2, 9) == sessionField then
		last = read('>I8', ARGV[6], 9)
	end
	-- Not an amount. Numbers count from 1; one beyond the 53 bits of a double was
	-- made by hand, and rounding leaves it above all that sessions have come to.
	local hi, lo = read('>I4I4', field, 10)
	return hi * 4194304 + math.floor(lo / 1024) > last, session
end

-- priorOf returns the code of a hold that is not open.
local function priorOf(i, field, value)
	if not value then
		return neverApplied(field) and $CODE_LOST or $CODE_NO_HOLD
	elseif #value < $TOMBSTONE_BYTES then
		damaged = damaged or field
		return $CODE_CORRUPT
	end
	local state, _, _, _, ended = read($HOLD, value)
	if now - ended > retention or sub(value, $TOMBSTONE_BYTES + 1) ~= sub(fields[i], 2) then
		return $CODE_NO_HOLD
	end
	return state == $IS_COMMITTED and $CODE_WAS_COMMITTED or state == $IS_RELEASED and $CODE_WAS_RELEASED
		or state == $IS_EXPIRED and $CODE_WAS_EXPIRED or $CODE_CORRUPT
end
