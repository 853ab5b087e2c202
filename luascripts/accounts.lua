-- accounts: the operations on accounts and reads, which are rare compared to reserves
-- and settles. The file stands inside decide.lua, so that its functions are built only
-- if a batch has one of them.
-- uses: the locals of batch.lua and holds.lua; in a merge also merge.lua
--
-- Invariant: granted and remaining move alike; an account is deleted with its
-- committed money, so that the terms of the law go together, and only without holds.
-- granted + overdraft fits 64 bits, so that committed does. A closed account stays closed. The
-- limits that an account names are those that exist: a change of settings makes all of its
-- changes or none, and a tenant is deleted with its limits.

local function amountAt()
	local hi, lo = read('>I4I4', arguments, position)
	position = position + 8
	return hi, lo
end

local function reply(text)
	valueCount = valueCount + 1
	values[valueCount] = text
end

-- settingsAt returns the settings that are the next argument, and a window, if they have one.
local function settingsAt(windows)
	local from = position
	local to = from + $SETTINGS_BYTES - 1
	to = to + 2 * byte(arguments, to)
	position = to + 1
	local window
	if windows then
		window = { read('>BBBI4I4I4I4', arguments, position) }
		position = window[8] + window[3]
		window[3] = sub(arguments, position - window[3], position - 1)
	end
	return sub(arguments, from, to), window
end

-- changeAt returns the change that is the next argument: its set, flags, settings and window,
-- and a list of its changes of limits: the period, and the settings and the window unless the
-- limit is removed.
local function changeAt()
	local set, flags = byte(arguments, position, position + 1)
	position = position + 2
	local settings, window = settingsAt(set >= $SET_WINDOW)
	local limits = {}
	position = position + 1
	for n = 1, byte(arguments, position - 1) do
		local period, removed = byte(arguments, position, position + 1)
		position = position + 2
		limits[n] = { period, settingsAt(removed == 0) }
	end
	return set, flags, settings, window, limits
end

-- tailOf returns the settings of an account as they are stored, with none for ''.
local function tailOf(a)
	return a[$FLAGS] >= $HAS_SETTINGS and a[$TAIL] or string.rep('\0', $SETTINGS_BYTES)
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
-- begins with its budget, whatever the window grants. If it is only to check, nothing changes.
local function configure(i, a, set, flags, new, spec, created, check)
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
	elseif check then
		return true
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
	if tail == string.rep('\0', $SETTINGS_BYTES) and not w and not a[$LIMITS] then
		tail, settings = '', nil
	else
		result = result + $HAS_SETTINGS + (w and $HAS_WINDOW or 0) + (a[$LIMITS] and $HAS_LIMITS or 0)
	end
	a[$REACHED] = a[$REACHED] or reached(a)
	a[$FLAGS], a[$TAIL], a[$SETTINGS], a[$WINDOW], dirty[i] = result, tail, settings, w, true
	a[$GRANTED_HI], a[$GRANTED_LO], a[$REMAINING_HI], a[$REMAINING_LO] = gH, gL, rH, rL
	if w then
		windowed = true
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
		.. (w and (w[$TEXT] or windowText(w)) or '') .. (a[$LIMITS] and string.char(a[$LIMITS]) or '')
		.. (w and pack('>i4I4', a[$REMAINING_HI], a[$REMAINING_LO]) or '')
end

-- create makes an account with that budget.
local function create(i, hi, lo)
	lastSerial = lastSerial + 1
	account[i], dirty[i] = { hi, lo, hi, lo, 0, 0, 0, 0, 0, lastSerial, 0, 0, 0, 0, 0, '' }, true
end

-- delete deletes an account with its ended epochs.
local function delete(i)
	local a = account[i]
	local w = a and a[$WINDOW]
	for n = 1, w and #w[$KEPT] or 0 do
		local name = 'p' .. pack('>I6', w[$KEPT][n]) .. sub(fields[i], 2)
		epochs[name] = epochs[name] or {}
		epochs[name][$DROPPED] = true
	end
	account[i], dirty[i], owned[i], blocked[i] = nil, dirty[i] or a ~= nil, nil, nil
	if configured then
		configured[i] = nil
	end
end

-- limitOf returns the place of the account of a tenant's limit. A batch has those of all limits
-- that it changes.
local function limitOf(i, period)
	i = i + 1
	while periodOf[i] ~= period do
		i = i + 1
		if i > accounts then
			error('BURSAR malformed change: no account of limit ' .. period, 0)
		end
	end
	return i
end

-- limitsAfter returns the set of a tenant's limits after changes of them, or a code if these
-- can't be made.
local function limitsAfter(i, limits)
	local all, creates, overflows, count = account[i][$LIMITS] or 0, false, false, 0
	for n = 1, #limits do
		local period, new, spec = unpack(limits[n], 1, 3)
		local place, bit = limitOf(i, period), 2 ^ (period - 1)
		local has = all % (2 * bit) >= bit
		local a = has and account[place]
		if has and blocked[place] then
			return nil, blocked[place]
		elseif has ~= (spec ~= nil) then
			all = has and all - bit or all + bit
		end
		creates = creates or spec and not has
		overflows = overflows or spec and a and not configure(place, a, $SET_OVERDRAFT + $SET_THRESHOLDS, 0, new, spec, false, true)
	end
	for n = 0, $LAST_PERIOD - 1 do
		count = count + math.floor(all / 2 ^ n) % 2
	end
	local code = count > $MAX_LIMITS and $CODE_LIMITS_FULL or creates and $LOW_MEMORY and $CODE_MEMORY or overflows and $CODE_OVERFLOW
	return not code and all, code
end

-- setLimits makes changes of a tenant's limits, and returns the remaining amount of each that it
-- sets. before is the set of those that the tenant had.
local function setLimits(i, limits, before)
	local remaining = ''
	for n = 1, #limits do
		local period, new, spec = unpack(limits[n], 1, 3)
		local place = limitOf(i, period)
		if spec then
			local created = before % 2 ^ period < 2 ^ (period - 1)
			if created then
				delete(place)
				create(place, spec[6], spec[7])
			end
			configure(place, account[place], $SET_OVERDRAFT + $SET_THRESHOLDS, 0, new, spec, created)
			remaining = remaining .. pack('>i4I4', account[place][$REMAINING_HI], account[place][$REMAINING_LO])
		else
			delete(place)
		end
	end
	return remaining
end

-- missing returns the code of an account that doesn't exist.
local function missing(i)
	local tenant = i
	while periodOf and periodOf[tenant] do
		tenant = tenant - 1
	end
	if tenant < i and blocked[tenant] == $CODE_CORRUPT then
		return $CODE_CORRUPT
	end
	return tenant < i and account[tenant] and $CODE_NO_LIMIT or $CODE_NO_TENANT
end

local function ensure(i, hi, lo)
	if blocked[i] then
		return blocked[i]
	elseif account[i] then
		return $CODE_EXISTS
	elseif $LOW_MEMORY then
		return $CODE_MEMORY
	end
	create(i, hi, lo)
	return $CODE_CREATED
end

local function reconfigure(i, set, flags, new, window, limits)
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	elseif a[$FLAGS] % 4 >= 2 and (set ~= $SET_CLOSED or #limits > 0) then
		return $CODE_CLOSED
	end
	local all, code = limitsAfter(i, limits)
	if code then
		return code
	elseif not configure(i, a, set, flags, new, window, false, true) then
		return $CODE_OVERFLOW
	end
	local remaining, before = '', a[$LIMITS] or 0
	if set ~= 0 or #limits > 0 then
		a[$LIMITS] = all > 0 and all or nil
		configure(i, a, set, flags, new, window)
		remaining = setLimits(i, limits, before)
	end
	reply(settingsOf(a) .. remaining)
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
		return $CODE_NO_TENANT -- also of a limit that was removed: there is nothing to renew
	end
	local w = a[$WINDOW]
	if w and w[$PERIOD] == period and w[$FIRST] == first and w[$ZONE] == zone and w[$MARK] == mark and (omitted == 0 or times[2] <= now) then
		local ahead = { unpack(w[$AHEAD]) }
		for n = 1, count do
			ahead[#ahead + 1] = times[n]
		end
		w[$AHEAD] = ahead
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
		return missing(i)
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

local function balanceOf(a)
	return pack('>i4I4I4I4I4I4I8', a[$GRANTED_HI], a[$GRANTED_LO], a[$RESERVED_HI], a[$RESERVED_LO],
		a[$COMMITTED_HI], a[$COMMITTED_LO], a[$HOLDS]) .. settingsOf(a)
end

local function look(kind, i)
	local a = account[i]
	if blocked[i] then
		return blocked[i]
	elseif not a then
		return missing(i)
	elseif kind == $REMAINING then
		return $CODE_REMAINING
	end
	local last = i
	while kind == $DELETE and periodOf and periodOf[last + 1] do
		last = last + 1
		if blocked[last] then
			return blocked[last]
		end
	end
	reply(balanceOf(a))
	if kind == $BALANCE then
		return $CODE_BALANCE
	elseif a[$HOLDS] > 0 or a[$RESERVED_HI] ~= 0 or a[$RESERVED_LO] ~= 0 then
		return $CODE_HOLDS_OPEN
	end
	for place = i, last do
		delete(place)
	end
	return $CODE_DELETED
end

-- list returns the balances of a tenant's limits, the base limit first.
local function list(i)
	if not account[i] and not blocked[i] then
		return $CODE_NO_TENANT
	end
	local texts = {}
	repeat
		if blocked[i] then
			return blocked[i]
		elseif account[i] then
			texts[#texts + 1] = string.char(i) .. balanceOf(account[i])
		end
		i = i + 1
	until not (periodOf and periodOf[i])
	reply(string.char(#texts) .. table.concat(texts))
	return $CODE_LIMIT_LIST
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
		local set, flags, new, window, limits = changeAt()
		if code == $CODE_CREATED then
			local all = limitsAfter(i, limits)
			account[i][$LIMITS] = all > 0 and all or nil
			configure(i, account[i], set, flags, new, window, true)
			setLimits(i, limits, 0)
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
	elseif kind == $LIST_LIMITS then
		return list(i)
	elseif kind == $BALANCE or kind == $REMAINING or kind == $DELETE then
		return look(kind, i)
	elseif kind == $LOOKUP then
		return lookup(i, field, value)
	elseif $MERGES and kind == $MERGE then
		return merge(i, field, value)
	end
	error('BURSAR malformed kind: ' .. kind, 0)
end
