-- accounts: the operations on accounts and reads, which are rare compared to reserves
-- and settles. The file stands inside decide.lua, so that its functions are built only
-- if a batch has one of them.
-- uses: the locals of batch.lua and holds.lua; in a merge also merge.lua
--
-- Invariant: granted and remaining move alike; an account is deleted with its
-- committed money, so that the terms of the law go together, and only without holds.

local function amountAt()
	local hi, lo = read('>I4I4', arguments, position)
	position = position + 8
	return hi, lo
end

local function reply(text)
	valueCount = valueCount + 1
	values[valueCount] = text
end

local function ensure(i, hi, lo)
	if blocked[i] then
		return blocked[i]
	elseif account[i] then
		return $CODE_EXISTS
	elseif $LOW_MEMORY then
		return $CODE_MEMORY
	end
	lastSerial = lastSerial + 1
	account[i], dirty[i] = { hi, lo, hi, lo, 0, 0, 0, 0, 0, lastSerial, 0, 0, 0, 0, 0, '' }, true
	return $CODE_CREATED
end

local function adjust(kind, i, hi, lo)
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	end
	local gH, gL, rH, rL
	if kind == $WITHDRAW then
		gH, gL = minus(a[$GRANTED_HI], a[$GRANTED_LO], hi, lo)
		rH, rL = minus(a[$REMAINING_HI], a[$REMAINING_LO], hi, lo)
		if rH < 0 then
			return $CODE_INSUFFICIENT
		end
	elseif $LOW_MEMORY then
		return $CODE_MEMORY
	else
		gH, gL = plus(a[$GRANTED_HI], a[$GRANTED_LO], hi, lo)
		rH, rL = plus(a[$REMAINING_HI], a[$REMAINING_LO], hi, lo)
		if gH > 2147483647 then
			return $CODE_OVERFLOW
		end
	end
	a[$GRANTED_HI], a[$GRANTED_LO], a[$REMAINING_HI], a[$REMAINING_LO], dirty[i] = gH, gL, rH, rL, true
	return kind == $WITHDRAW and $CODE_WITHDRAWN or $CODE_GRANTED
end

local function look(kind, i)
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	elseif kind == $REMAINING then
		return $CODE_REMAINING
	end
	reply(pack('>I4I4I4I4I4I4I8', a[$GRANTED_HI], a[$GRANTED_LO], a[$RESERVED_HI], a[$RESERVED_LO],
		a[$COMMITTED_HI], a[$COMMITTED_LO], a[$HOLDS]))
	if kind == $BALANCE then
		return $CODE_BALANCE
	elseif a[$HOLDS] > 0 or a[$RESERVED_HI] ~= 0 or a[$RESERVED_LO] ~= 0 then
		return $CODE_HOLDS_OPEN
	end
	account[i], dirty[i], owned[i] = nil, true, nil
	return $CODE_DELETED
end

local function lookup(i, field, value)
	if not value then
		return $CODE_NOT_KNOWN
	elseif byte(value) ~= $IS_OPEN then
		local code = priorOf(i, field, value)
		if code == $CODE_NO_HOLD or code == $CODE_CORRUPT then
			return code == $CODE_NO_HOLD and $CODE_NOT_KNOWN or code
		end
		local amount = code == $CODE_WAS_COMMITTED and sub(value, 40, 47) or sub(value, 2, 9)
		reply(sub(value, 1, 1) .. amount .. sub(value, 28, 33) .. '\0\0\0\0\0\0')
		return $CODE_KNOWN
	elseif #value < $HOLD_BYTES then
		damaged = damaged or field
		return $CODE_CORRUPT
	end
	local a, _, _, _, number = account[i], read($HOLD_HEAD, value)
	if a and (number < $SEVERAL and number ~= a[$SERIAL] or number >= $SEVERAL and a[$SERIAL] > number - $SEVERAL)
		or (not a or number >= $SEVERAL) and sub(value, $HOLD_BYTES + 1) ~= sub(fields[i], 2) then
		return $CODE_NOT_KNOWN
	elseif blocked[i] then
		return blocked[i]
	end
	reply(sub(value, 1, 9) .. sub(value, 22, 33))
	return $CODE_KNOWN
end

other = function(kind, i, field, value)
	if kind == $ENSURE then
		return ensure(i, amountAt())
	elseif kind == $GRANT or kind == $WITHDRAW then
		return adjust(kind, i, amountAt())
	elseif kind == $BALANCE or kind == $REMAINING or kind == $DELETE then
		return look(kind, i)
	elseif kind == $LOOKUP then
		return lookup(i, field, value)
	elseif $MERGES and kind == $MERGE then
		return merge(i, field, value)
	end
	error('BURSAR malformed kind: ' .. kind, 0)
end
