-- accounts: the operations on accounts and reads, which are rare compared to reserves
-- and settles. The file stands inside decide.lua, so that its functions are built only
-- if a batch has one of them.
-- uses: the locals of batch.lua and holds.lua; in a merge also merge.lua
--
-- Invariant: granted and remaining move alike; an account is deleted with its
-- committed money, so that the terms of the law go together, and only without holds.
-- granted + overdraft fits 64 bits, so that committed does. A closed account stays closed.

local function amountAt()
	local hi, lo = read('>I4I4', arguments, position)
	position = position + 8
	return hi, lo
end

local function reply(text)
	valueCount = valueCount + 1
	values[valueCount] = text
end

-- changeAt returns the change that is the next argument: its set, flags, and settings.
local function changeAt()
	local set, flags = byte(arguments, position, position + 1)
	local from = position + 2
	local to = from + $SETTINGS_BYTES - 1
	to = to + 2 * byte(arguments, to)
	position = to + 1
	return set, flags, sub(arguments, from, to)
end

-- tailOf returns the settings of an account as they are stored, with none for ''.
local function tailOf(a)
	local tail = a[$TAIL] or sub(a[$RECORD], $ACCOUNT_BYTES + 1)
	return tail ~= '' and tail or string.rep('\0', $SETTINGS_BYTES)
end

-- configure makes a change of an account; false, and nothing changed, if its budget and
-- overdraft would not fit 64 bits.
local function configure(i, a, set, flags, new)
	local tail, at = tailOf(a), 1
	local parts = {}
	local function choose(bit, bytes)
		parts[#parts + 1] = sub(set % (2 * bit) >= bit and new or tail, at, at + bytes - 1)
		at = at + bytes
	end
	choose($SET_OVERDRAFT, 8)
	choose($SET_CAP_HOLD, 8)
	choose($SET_CAP_RESERVED, 8)
	choose($SET_CAP_HOLDS, 4)
	choose($SET_THRESHOLDS, 2 * $MAX_THRESHOLDS + 1) -- to the end
	tail = table.concat(parts)
	local settings = { read($SETTINGS_FORM, tail) }
	if plus(a[$GRANTED_HI], a[$GRANTED_LO], settings[$OVERDRAFT_HI], settings[$OVERDRAFT_LO]) > 2147483647 then
		return false
	end
	local next = settings[$THRESHOLDS + 1]
	settings[$THRESHOLDS + 1] = nil
	for n = 1, settings[$THRESHOLDS] do
		settings[$THRESHOLDS + n], next = read('>I2', tail, next)
	end
	local was = a[$FLAGS]
	local frozen, closed = was % 2, was % 4 >= 2
	if set % (2 * $SET_FROZEN) >= $SET_FROZEN then
		frozen = flags % 2
	end
	local result = frozen + ((closed or set >= $SET_CLOSED) and 2 or 0)
	if tail == string.rep('\0', $SETTINGS_BYTES) then
		tail, settings = '', nil
	else
		result = result + $HAS_SETTINGS
	end
	if not cross then
		-- Here stands thresholds.lua.
		$ON_THRESHOLDS
	end
	a[$REACHED] = a[$REACHED] or reached(a)
	a[$FLAGS], a[$TAIL], a[$SETTINGS], dirty[i] = result, tail, settings, true
	configured = configured or {}
	configured[i] = true
	cross(i)
	return true
end

local function settingsOf(a)
	return string.char(a[$FLAGS]) .. (a[$FLAGS] >= $HAS_SETTINGS and tailOf(a) or '')
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

local function reconfigure(i, set, flags, new)
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	elseif a[$FLAGS] % 4 >= 2 and set ~= $SET_CLOSED then
		return $CODE_CLOSED
	elseif set ~= 0 and not configure(i, a, set, flags, new) then
		return $CODE_OVERFLOW
	end
	reply(settingsOf(a))
	return $CODE_CONFIGURED
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
	elseif a[$FLAGS] % 4 >= 2 then
		return $CODE_CLOSED
	elseif $LOW_MEMORY then
		return $CODE_MEMORY
	else
		gH, gL = plus(a[$GRANTED_HI], a[$GRANTED_LO], hi, lo)
		rH, rL = plus(a[$REMAINING_HI], a[$REMAINING_LO], hi, lo)
		local s = a[$SETTINGS]
		if (s and plus(gH, gL, s[$OVERDRAFT_HI], s[$OVERDRAFT_LO]) or gH) > 2147483647 then
			return $CODE_OVERFLOW
		end
	end
	a[$GRANTED_HI], a[$GRANTED_LO], a[$REMAINING_HI], a[$REMAINING_LO], dirty[i] = gH, gL, rH, rL, true
	if a[$SETTINGS] then
		cross(i)
	end
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
		a[$COMMITTED_HI], a[$COMMITTED_LO], a[$HOLDS]) .. settingsOf(a))
	if kind == $BALANCE then
		return $CODE_BALANCE
	elseif a[$HOLDS] > 0 or a[$RESERVED_HI] ~= 0 or a[$RESERVED_LO] ~= 0 then
		return $CODE_HOLDS_OPEN
	end
	account[i], dirty[i], owned[i] = nil, true, nil
	if configured then
		configured[i] = nil
	end
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
	elseif kind == $ENSURE_WITH then
		local code = ensure(i, amountAt())
		local set, flags, new = changeAt()
		if code == $CODE_CREATED then
			configure(i, account[i], set, flags, new)
		end
		return code
	elseif kind == $CONFIGURE then
		return reconfigure(i, changeAt())
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
