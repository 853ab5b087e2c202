-- expiry: ends what is due before anything is decided.
-- uses: batch.lua's locals
--
-- The earliest deadlines are ended first, a bounded number a batch. An account's
-- record says before which time none of its holds is due; one that may have an overdue
-- hold left is blocked until the backlog is gone. So every answer is as if all that is
-- due had been ended, and a backlog of one account delays no other. The bound has two
-- generations: when the last older hold has ended, the younger ones are the older ones.
-- So that of an account that always has open holds moves on as they end.
--
-- Invariant: a hold is counted in its account's reserved once, while it is open; a
-- tombstone never becomes open again. So a hold ends once, whoever ends it.
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
		local function later(member, at)
			timed[timedSize + 1], timed[timedSize + 2] = format('%d', at), member
			timedSize = timedSize + 2
			if due == 0 or at < due then
				due = at
			end
		end
		local function dropFields(names)
			drop = drop or {}
			drop[#drop + 1] = names
		end
		local function damage(member)
			damaged = damaged or member
			later(member, now + $DAMAGE_RETRY_MS)
		end
		local function expire(field, value)
			if #value < $HOLD_BYTES then
				return damage(field)
			end
			local _, hi, lo, _, ends, number, since = read($HOLD, value)
			if ends > now then -- a timer ends no hold that is not due itself
				return later(field, ends)
			elseif ends == 0 then
				remove[#remove + 1] = field
				return
			end
			local name = 'a' .. sub(value, $HOLD_BYTES + 1)
			local i = places[name]
			if not i then
				i = loaded + 1
				loaded = i
				places[name] = i
				readAccount(i, name, call('HGET', ledger, name))
			end
			if blocked[i] then
				return damage(field)
			end
			if gh[i] and serial[i] == number then
				local h, l = minus(sh[i], sl[i], hi, lo)
				if h < 0 or held[i] == 0 then
					return damage(field)
				end
				sh[i], sl[i], held[i], dirty[i] = h, l, held[i] - 1, true
				if since <= turn[i] then
					older[i] = older[i] - 1
					if older[i] <= 0 then
						deadline[i], young[i], older[i], turn[i] = young[i], 0, held[i], sequence
					end
				end
				rh[i], rl[i] = plus(rh[i], rl[i], hi, lo)
			end -- else its account was deleted: no money is held by it
			value = $EXPIRED .. sub(value, 2, 15) .. nowBytes .. sub(value, 22, 33) .. pack('>I6', sequence) .. '\0\0\0\0\0\0\0\0' .. sub(value, 34)
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
					later(member, seen + $SESSION_RETENTION_MS)
				else
					dropFields({ member, 'r' .. sub(member, 2) })
					remove[#remove + 1] = member
				end
			elseif kind == $IS_ENDINGS and value then
				records = records + 1
				if records > 4 then -- each may name hundreds
					later(member, now + 1000)
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
-- If nothing is left that is due, the next timer bounds every hold's deadline.
for i = 1, loaded do
	local first, second = deadline[i], young[i]
	if first and held[i] > 0 and (first ~= 0 and first <= now or second ~= 0 and second <= now) then
		if backlog then
			blocked[i] = blocked[i] or $CODE_OVERDUE
		else
			deadline[i] = first ~= 0 and first <= now and due or first
			young[i] = second ~= 0 and second <= now and due or second
		end
	end
end
