-- expiry: ends the holds and records that are due before an operation is decided.
-- uses: batch.lua's locals
--
-- The earliest deadlines come first, a bounded number a batch. An account's record
-- bounds the deadlines of its holds from below; an account that may have an overdue hold
-- left is blocked until the backlog is gone. So every answer is as if all overdue holds
-- had ended, and the backlog of one account delays no other. The bound has two
-- generations: when the last older hold has ended, the younger holds become the older
-- ones. So the bound of an account that always has open holds advances as they end.
--
-- Invariant: a hold is counted in the reserved of each of its levels once, while it is
-- open; a tombstone never becomes open again. So a hold ends once, at all its levels: by
-- a settle, its deadline or a repair.
local whole = call('ZSCORE', timers, $SENTINEL)
if not whole then
	flags = 2
end
local backlog = not whole
-- The holds to end, with their records and accounts.
local ending, endingRecords, debited = nil, nil, nil
if due ~= 0 and due <= now then
	local bound = operations == 0 and $MAX_SWEEP or math.min(2 * operations + 64, $MAX_SWEEP)
	local nowText = format('%d', now)
	local members = call('ZRANGEBYSCORE', timers, '-inf', nowText, 'LIMIT', 0, bound + 1)
	if #members > bound then
		members[bound + 1] = nil
		flags, backlog = flags + 1, true
	elseif whole then
		local first = call('ZRANGEBYSCORE', timers, '(' .. nowText, '9007199254740992', 'WITHSCORES', 'LIMIT', 0, 1)
		due = first[2] and first[2] + 0 or 0
	end
	if #members > 0 then
		-- Here stands places.lua.
		$ON_PLACES
		local records = 0
		ending, endingRecords, debited, remove = {}, {}, {}, {}
		local values = call('HMGET', ledger, unpack(members))
		local function dropFields(names)
			drop = drop or {}
			drop[#drop + 1] = names
		end
		for i = 1, #members do
			local member, value = members[i], values[i]
			local kind = member:byte()
			if kind == $IS_HOLD and value and value:byte() == $IS_OPEN then
				local _, number, ends = nil, nil, nil
				if #value >= $HOLD_BYTES then
					_, _, _, number, _, _, ends = read($HOLD, value)
				end
				if ends and ends > now then -- a timer ends no hold that is not due itself
					schedule(ends, member)
				elseif ends == 0 then
					remove[#remove + 1] = member
				else
					local n, several = #ending + 1, number and number >= $SEVERAL
					ending[n], endingRecords[n] = member, value
					debited[n] = number and accountsOf(sub(value, $HOLD_BYTES + 1), several and value:byte($HOLD_BYTES) or 1, several and number - $SEVERAL or number)
				end
			elseif kind == $IS_SESSION and value then
				local seen = member == sessionField and now or #value >= $SESSION_BYTES and read('>I6', value, 18) or 0
				if seen + $SESSION_RETENTION_MS > now and sub(value, 1, 1) ~= $SESSION_CLOSED then
					schedule(seen + $SESSION_RETENTION_MS, member)
				else
					dropFields({ member, 'r' .. sub(member, 2) })
					remove[#remove + 1] = member
				end
			elseif kind == $IS_ENDINGS and value then
				records = records + 1
				if records > 4 then -- each may name hundreds
					schedule(now + 1000, member)
				else
					local names = { member }
					for at = 7, #value, 17 do
						names[#names + 1] = sub(value, at, at + 16)
					end
					dropFields(names)
					remove[#remove + 1] = member
				end
			else
				remove[#remove + 1] = member
			end
		end
	end
end
if configured or windowed or changesSettings then
	if windowed or changesSettings or $MERGES then
		-- Here stands windows.lua.
		$ON_WINDOWS
	end
	if configured or changesSettings then
		-- Here stands thresholds.lua.
		$ON_THRESHOLDS
	end
end
if ending then
	for n = 1, #ending do
		local field, value, places = ending[n], endingRecords[n], debited[n]
		local _, hi, lo, since, made
		if places then
			_, hi, lo, _, since, made = read($HOLD, value)
		end
		-- The first pass only checks, so that all accounts end the hold or none.
		for pass = 1, 2 do
			for k = 1, places and #places or 0 do
				local i = places[k]
				local a = account[i]
				local epoch = not a[$WINDOW] and a or epochOf(i, made)
				local h, l
				if epoch then
					h, l = minus(epoch[$RESERVED_HI], epoch[$RESERVED_LO], hi, lo)
				end
				if not epoch or h < 0 or a[$HOLDS] == 0 then
					places = nil
					break
				elseif pass == 2 then
					epoch[$RESERVED_HI], epoch[$RESERVED_LO], a[$HOLDS], dirty[i] = h, l, a[$HOLDS] - 1, true
					if since <= a[$TURN] then
						a[$OLDER] = a[$OLDER] - 1
						if a[$OLDER] <= 0 then
							a[$DEADLINE], a[$YOUNG], a[$OLDER], a[$TURN] = a[$YOUNG], 0, a[$HOLDS], sequence
						end
					end
					epoch[$REMAINING_HI], epoch[$REMAINING_LO] = plus(epoch[$REMAINING_HI], epoch[$REMAINING_LO], hi, lo)
					if epoch ~= a then
						passOn(i, epoch, hi, lo, minus(0, 0, hi, lo))
					end
				end
			end
		end
		if places then
			value = $EXPIRED .. sub(value, 2, 27) .. nowBytes .. pack('>I6', sequence) .. '\0\0\0\0\0\0\0\0' .. sub(value, 34)
			set[size + 1], set[size + 2] = field, value
			size = size + 2
			became[field] = value
			expired = expired or {}
			expired[#expired + 1] = field
			remove[#remove + 1] = field
		else
			damaged = damaged or field
			schedule(now + $DAMAGE_RETRY_MS, field)
		end
	end
end
-- Without a backlog the next timer bounds every hold's deadline.
for i = 1, loaded do
	local a = account[i]
	if a and a[$HOLDS] > 0 then
		local first, second = a[$DEADLINE], a[$YOUNG]
		local passed, passedToo = first ~= 0 and first <= now, second ~= 0 and second <= now
		if backlog and (passed or passedToo) then
			blocked[i] = blocked[i] or $CODE_OVERDUE
		else
			a[$DEADLINE], a[$YOUNG] = passed and due or first, passedToo and due or second
		end
	end
end
-- Of the accounts with settings, those that may be read enter the epoch of now. A rolling window
-- moves to now in any case, for merges into it: what it returns doesn't depend on due holds.
if configured then
	-- lacking returns a code if the batch lacks a limit of an account, or if that is missing.
	local function lacking(i)
		local limits, place = account[i][$LIMITS], i + 1
		local period = periodOf and periodOf[place]
		while period do
			local bit = 2 ^ (period - 1)
			if limits % (2 * bit) >= bit then
				if not account[place] then
					return $CODE_CORRUPT
				end
				limits = limits - bit
			end
			place = place + 1
			period = periodOf[place]
		end
		if limits > 0 then
			lacks = lacks or {}
			lacks[#lacks + 1] = string.char(i, account[i][$LIMITS])
			return $CODE_LIMITS
		end
	end
	for i in pairs(configured) do
		local a = account[i]
		local w = a[$WINDOW]
		if a[$LIMITS] and not $MERGES then
			blocked[i] = blocked[i] or lacking(i)
		end
		if w and (w[$RING] or not blocked[i]) then
			enter(i)
		end
		a[$REACHED] = reached(a)
	end
end
