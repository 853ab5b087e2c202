-- prior: answers on holds that aren't open, which are rare. The file stands inside
-- decide.lua, so that its functions are built only if a batch meets such a hold.
-- uses: the locals of batch.lua and holds.lua
-- neverApplied reports whether this partition may never have had the batch that made an
-- id: its node's session is missing or has not come that far. An id is node (64), number
-- (54), index (10).
neverApplied = function(field)
	local session = call('HGET', ledger, 's' .. sub(field, 2, 9))
	if not session then
		return true
	elseif #session < $SESSION_BYTES then
		return false, session
	end
	local last = read('>I8', session, 2)
	if sub(session, 1, 1) == $SESSION_REPAIRING and #session >= $SESSION_BYTES + 8 then
		last = read('>I8', session, $SESSION_BYTES + 1)
	end
	-- Not an amount. Numbers count from 1; one beyond the 53 bits of a double was
	-- made by hand, and rounding leaves it above all that sessions have come to.
	local hi, lo = read('>I4I4', field, 10)
	return hi * 4194304 + math.floor(lo / 1024) > last, session
end

-- priorOf returns the code of a hold that is not open.
priorOf = function(i, field, value)
	if not value then
		return neverApplied(field) and $CODE_LOST or $CODE_NO_HOLD
	elseif #value < $TOMBSTONE_BYTES then
		damaged = damaged or field
		return $CODE_CORRUPT
	end
	local state, _, _, _, _, _, ended = read($HOLD, value)
	if now - ended > retention or sub(value, $TOMBSTONE_BYTES + 1) ~= sub(fields[i], 2) then
		return $CODE_NO_HOLD
	end
	return state == $IS_COMMITTED and $CODE_WAS_COMMITTED or state == $IS_RELEASED and $CODE_WAS_RELEASED
		or state == $IS_EXPIRED and $CODE_WAS_EXPIRED or $CODE_CORRUPT
end
