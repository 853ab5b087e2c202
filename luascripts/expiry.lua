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
if due ~= 0 and due <= now then
	local bound = operations == 0 and $MAX_SWEEP or math.min(2 * operations + 64, $MAX_SWEEP)
	local nowText = format('%d', now)
	local ending = call('ZRANGEBYSCORE', timers, '-inf', nowText, 'LIMIT', 0, bound + 1)
	if #ending > bound then
		ending[bound + 1] = nil
		flags, backlog = flags + 1, true
	elseif whole then
		local first = call('ZRANGEBYSCORE', timers, '(' .. nowText, '9007199254740992', 'WITHSCORES', 'LIMIT', 0, 1)
		due = first[2] and first[2] + 0 or 0
	end
	if #ending > 0 then
		local places = {}
		for i = 1, accounts do
			places[fields[i]] = i
		end
		local records = 0
		remove = {}
		local values = call('HMGET', ledger, unpack(ending))
		local function dropFields(names)
			drop = drop or {}
			drop[#drop + 1] = names
		end
		local function damage(member)
			damaged = damaged or member
			schedule(now + $DAMAGE_RETRY_MS, member)
		end
		local function expire(field, value)
			if #value < $HOLD_BYTES then
				return damage(field)
			end
			local _, hi, lo, number, since, made, ends = read($HOLD, value)
			if ends > now then -- a timer ends no hold that is not due itself
				return schedule(ends, field)
			elseif ends == 0 then
				remove[#remove + 1] = field
				return
			end
			-- Of several levels the first pass only checks, so that all end the hold or none.
			local several = number >= $SEVERAL
			for pass = several and 1 or 2, 2 do
				local name, levels = 'a' .. sub(value, $HOLD_BYTES + 1), several and value:byte($HOLD_BYTES) or 1
				repeat
					if levels == 1 or levels % 2 == 1 then
						local i = places[name]
						if not i then
							i = loaded + 1
							loaded = i
							places[name] = i
							fields[i] = name
							account[i], blocked[i] = readAccount(call('HGET', ledger, name))
						end
						if blocked[i] then
							return damage(field)
						end
						local a = account[i]
						if a and (a[$SERIAL] == number or several and a[$SERIAL] <= number - $SEVERAL) then
							if a[$WINDOW] and not epochOf then
								-- Here stands windows.lua.
								$ON_WINDOWS
							end
							local epoch = a[$WINDOW] and epochOf(i, made) or not a[$WINDOW] and a
							local h, l
							if epoch then
								h, l = minus(epoch[$RESERVED_HI], epoch[$RESERVED_LO], hi, lo)
							end
							if not epoch or h < 0 or a[$HOLDS] == 0 then
								return damage(field)
							end
							if pass == 2 then
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
						end -- else its account was deleted: no money is held by it
					end
					levels = levels > 1 and (levels - levels % 2) / 2
					name = levels and name:match('^(.+)/')
				until not name
			end
			value = $EXPIRED .. sub(value, 2, 27) .. nowBytes .. pack('>I6', sequence) .. '\0\0\0\0\0\0\0\0' .. sub(value, 34)
			set[size + 1], set[size + 2] = field, value
			size = size + 2
			became[field] = value
			expired = expired or {}
			expired[#expired + 1] = field
			remove[#remove + 1] = field
		end
		for i = 1, #ending do
			local member, value = ending[i], values[i]
			local kind = member:byte()
			if kind == $IS_HOLD and value and value:byte() == $IS_OPEN then
				expire(member, value)
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
	-- Here stands thresholds.lua.
	$ON_THRESHOLDS
	for i in pairs(configured) do
		local w = account[i][$WINDOW]
		if w and (w[$RING] or not blocked[i]) then
			enter(i)
		end
		account[i][$REACHED] = reached(account[i])
	end
end
