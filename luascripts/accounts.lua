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
	local window
	if set >= $SET_WINDOW then
		window = { read('>BBBI4I4I4I4', arguments, position) }
		position = window[8] + window[3]
		window[3] = sub(arguments, position - window[3], position - 1)
	end
	return set, flags, sub(arguments, from, to), window
end

-- tailOf returns the settings of an account as they are stored, with none for ''.
local function tailOf(a)
	local tail = a[$TAIL] or sub(a[$RECORD], $ACCOUNT_BYTES + 1)
	return tail ~= '' and tail or string.rep('\0', $SETTINGS_BYTES)
end

-- windowOf returns the window of an account after a change to spec (period, first day, zone,
-- carry-over, amount), nil for none, and what the change adds to the current epoch. A change
-- of the calendar forgets the boundaries, or the ring, and one of the amount alone doesn't.
local function windowOf(a, spec)
	local was, period, first, zone, amountHi, amountLo = a[$WINDOW], spec[1], spec[2], spec[3], spec[6], spec[7]
	if period == 0 and (not was or #was[$KEPT] == 0) then
		return nil, 0, 0
	end
	local hi, lo = a[$GRANTED_HI], a[$GRANTED_LO]
	if was and was[$PERIOD] > 0 then
		hi, lo = was[$AMOUNT_HI], was[$AMOUNT_LO]
	end
	local moreHi, moreLo = minus(amountHi, amountLo, hi, lo)
	local rolls = ($RINGS)[period]
	if amountHi == 0 and amountLo == 0 or moreHi < 0 and not rolls then
		moreHi, moreLo = 0, 0
	end
	if amountHi == 0 and amountLo == 0 then
		amountHi, amountLo = hi, lo
	end
	if period == 0 or amountHi < 0 then
		amountHi, amountLo = 0, 0
	end
	local w = { period, first, spec[4], spec[5], amountHi, amountLo, now, now, 0, 0, zone, {}, {} }
	if rolls then
		w[$MARK] = now - now % ($PART_MS)[period]
		w[$RING] = string.rep('\0', rolls - 8) .. pack('>I4I4', a[$COMMITTED_HI], a[$COMMITTED_LO])
	end
	if was then
		w[$START], w[$ENDED_HI], w[$ENDED_LO], w[$KEPT] = was[$START], was[$ENDED_HI], was[$ENDED_LO], was[$KEPT]
		if period == was[$PERIOD] and first == was[$FIRST] and zone == was[$ZONE] then
			w[$MARK], w[$AHEAD], w[$RING] = was[$MARK], was[$AHEAD], was[$RING]
		end
	else
		w[$TEXT] = pack($WINDOW_FORM, period, first, spec[4], spec[5], amountHi, amountLo, now, w[$MARK], 0, 0, #zone, 0, 0) .. zone .. (w[$RING] or '')
	end
	return w, moreHi, moreLo
end

-- configure makes a change of an account; false, and nothing changed, if its budget, or what
-- its window grants, would not fit 64 bits with the overdraft, or if what remains would not: a
-- lowered amount after repairs, which check nothing. An account that is created with a window
-- begins with its budget, whatever the window grants.
local function configure(i, a, set, flags, new, spec, created)
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
	local w, moreHi, moreLo = a[$WINDOW], 0, 0
	if spec then
		w, moreHi, moreLo = windowOf(a, spec)
		if created then
			moreHi, moreLo = 0, 0
		end
	end
	local gH, gL = plus(a[$GRANTED_HI], a[$GRANTED_LO], moreHi, moreLo)
	local rH, rL = plus(a[$REMAINING_HI], a[$REMAINING_LO], moreHi, moreLo)
	if gH > 2147483647 or rH < -2147483648 or rH == -2147483648 and rL == 0 or plus(gH, gL, settings[$OVERDRAFT_HI], settings[$OVERDRAFT_LO]) > 2147483647
		or w and plus(w[$AMOUNT_HI], w[$AMOUNT_LO], settings[$OVERDRAFT_HI], settings[$OVERDRAFT_LO]) > 2147483647 then
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
	local result = frozen + ((closed or set % (2 * $SET_CLOSED) >= $SET_CLOSED) and 2 or 0)
	if tail == string.rep('\0', $SETTINGS_BYTES) and not w then
		tail, settings = '', nil
	else
		result = result + $HAS_SETTINGS + (w and $HAS_WINDOW or 0)
	end
	if not cross then
		-- Here stands thresholds.lua.
		$ON_THRESHOLDS
	end
	a[$REACHED] = a[$REACHED] or reached(a)
	a[$FLAGS], a[$TAIL], a[$SETTINGS], a[$WINDOW], dirty[i] = result, tail, settings, w, true
	a[$GRANTED_HI], a[$GRANTED_LO], a[$REMAINING_HI], a[$REMAINING_LO] = gH, gL, rH, rL
	if w then
		windowed = true
		if not enter then
			-- Here stands windows.lua.
			$ON_WINDOWS
		end
		if w[$PERIOD] > 0 and #w[$AHEAD] == 0 and not w[$RING] then
			blocked[i] = $CODE_WINDOW -- until a node renews it
		end
	end
	configured = configured or {}
	configured[i] = true
	cross(i)
	return true
end

local function settingsOf(a)
	local w = a[$WINDOW]
	return string.char(a[$FLAGS]) .. (a[$FLAGS] >= $HAS_SETTINGS and tailOf(a) or '')
		.. (w and (w[$TEXT] or windowText(w)) .. pack('>i4I4', a[$REMAINING_HI], a[$REMAINING_LO]) or '')
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

local function reconfigure(i, set, flags, new, window)
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	elseif a[$FLAGS] % 4 >= 2 and set ~= $SET_CLOSED then
		return $CODE_CLOSED
	elseif set ~= 0 and not configure(i, a, set, flags, new, window) then
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

-- renew adds the boundaries that an account lacks, unless another node has, and begins the
-- epoch of now. They are of the window if the calendar is its own: a mark may return, because
-- time stands still after a failover. After one to an earlier clock the boundaries that are
-- left out may be ahead: then it adds none, and the node renews again.
local function renew(i)
	local mark, omitted, period, first, length, count = read('>I6I4BBBB', arguments, position)
	position = position + 14 + length
	local zone = sub(arguments, position - length, position - 1)
	local times = { read('>' .. string.rep('I6', count), arguments, position) }
	position = position + 6 * count
	local a = account[i]
	if blocked[i] and blocked[i] ~= $CODE_WINDOW then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	end
	local w = a[$WINDOW]
	if w and w[$PERIOD] == period and w[$FIRST] == first and w[$ZONE] == zone and w[$MARK] == mark and (omitted == 0 or times[2] <= now) then
		for n = 1, count do
			w[$AHEAD][#w[$AHEAD] + 1] = times[n]
		end
		w[$MARK], w[$TEXT], blocked[i], dirty[i] = times[count], nil, nil, true
		enter(i, omitted)
	end
	reply(pack('>i4I4', a[$REMAINING_HI], a[$REMAINING_LO]))
	return $CODE_RENEWED
end

-- epochAt returns the terms of the epoch that contains a time.
local function epochAt(i)
	local at = read('>I6', arguments, position)
	position = position + 6
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	end
	local w = a[$WINDOW]
	local start, epoch, ends = w and w[$START], a, w and w[$AHEAD][1] or 0
	if w and at < start then
		local n = 1
		while w[$KEPT][n] and w[$KEPT][n] > at do
			n = n + 1
		end
		start = w[$KEPT][n]
		epoch = start and epochOf(i, start)
		if start and not epoch then
			return $CODE_CORRUPT
		end
		ends = start and epoch[$EPOCH_END]
	end
	if not start or w[$RING] and epoch == a or ends > 0 and at >= ends then
		return $CODE_NO_EPOCH
	end
	reply(pack('>i4I4i4I4I4I4I4I4I6I6', epoch[$GRANTED_HI], epoch[$GRANTED_LO], epoch[$REMAINING_HI], epoch[$REMAINING_LO],
		epoch[$RESERVED_HI], epoch[$RESERVED_LO], epoch[$COMMITTED_HI], epoch[$COMMITTED_LO], start, ends) .. settingsOf(a))
	return $CODE_EPOCH
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
	reply(pack('>i4I4I4I4I4I4I8', a[$GRANTED_HI], a[$GRANTED_LO], a[$RESERVED_HI], a[$RESERVED_LO],
		a[$COMMITTED_HI], a[$COMMITTED_LO], a[$HOLDS]) .. settingsOf(a))
	if kind == $BALANCE then
		return $CODE_BALANCE
	elseif a[$HOLDS] > 0 or a[$RESERVED_HI] ~= 0 or a[$RESERVED_LO] ~= 0 then
		return $CODE_HOLDS_OPEN
	end
	local w = a[$WINDOW]
	for n = 1, w and #w[$KEPT] or 0 do
		local name = 'p' .. pack('>I6', w[$KEPT][n]) .. sub(fields[i], 2)
		epochs[name] = epochs[name] or {}
		epochs[name][$DROPPED] = true
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
		local set, flags, new, window = changeAt()
		if code == $CODE_CREATED then
			configure(i, account[i], set, flags, new, window, true)
		end
		return code
	elseif kind == $CONFIGURE then
		return reconfigure(i, changeAt())
	elseif kind == $GRANT or kind == $WITHDRAW then
		return adjust(kind, i, amountAt())
	elseif kind == $RENEW then
		return renew(i)
	elseif kind == $EPOCH then
		return epochAt(i)
	elseif kind == $BALANCE or kind == $REMAINING or kind == $DELETE then
		return look(kind, i)
	elseif kind == $LOOKUP then
		return lookup(i, field, value)
	elseif $MERGES and kind == $MERGE then
		return merge(i, field, value)
	end
	error('BURSAR malformed kind: ' .. kind, 0)
end
