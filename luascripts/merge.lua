-- merge: restores effects that were acknowledged to a node and that the partition has
-- lost (PROTOCOL.md, Repair).
-- uses: the locals of batch.lua and holds.lua; it stands before accounts.lua
--
-- Invariant: the states of a hold have an order, absent < open < ended without cost <
-- committed, and committed(a) < committed(b) if a < b. A merge only raises, and moves
-- the accounts from the stored state to the merged one, so that the law holds, reserved
-- is the sum of the open holds, and a repeat changes nothing. The accounts are those of the
-- hold's levels: of the stored hold those that still are the same accounts, of an absent
-- one those that exist, each with the epoch to which the hold belongs. Either all of them move or
-- none. It does not check the
-- balance: money spent twice in the meantime makes remaining negative. A hold that is
-- absent although its batch was applied has ended, its tombstone is dropped, and it stays
-- absent; unless a late duplicate of that batch was applied and refused it, which the
-- stored reply shows.
local order = { [$IS_OPEN] = 1, [$IS_RELEASED] = 2, [$IS_EXPIRED] = 2, [$IS_COMMITTED] = 3 }

-- shift moves an account, and the epoch to which a hold of that time belongs, from one state
-- of the hold to another; false, and nothing moved, if a sum would not fit 64 bits, or if it is
-- only to check that. Remaining stays above -2^63, which in a reply is that of an account that
-- does not exist.
local function shift(i, made, was, wasHi, wasLo, wasMade, state, hi, lo, ending, check)
	local a = account[i]
	local epoch = a
	if a[$WINDOW] then
		epoch = epochOf(i, made)
	end
	if not epoch then
		return false
	end
	local rolling = epoch == a and a[$WINDOW] and a[$WINDOW][$RING]
	local part = rolling and partOf(i, made)
	if rolling and not part then -- the window doesn't contain the hold any more
		wasHi, wasLo = was == $IS_OPEN and wasHi or 0, was == $IS_OPEN and wasLo or 0
		hi, lo = state == $IS_OPEN and hi or 0, state == $IS_OPEN and lo or 0
	end
	local rH, rL, sH, sL = epoch[$REMAINING_HI], epoch[$REMAINING_LO], epoch[$RESERVED_HI], epoch[$RESERVED_LO]
	local cH, cL, holds = epoch[$COMMITTED_HI], epoch[$COMMITTED_LO], a[$HOLDS]
	if was == $IS_OPEN then
		rH, rL = plus(rH, rL, wasHi, wasLo)
		sH, sL = minus(sH, sL, wasHi, wasLo)
		holds = holds - 1
	elseif was == $IS_COMMITTED then
		rH, rL = plus(rH, rL, wasHi, wasLo)
		cH, cL = minus(cH, cL, wasHi, wasLo)
	end
	if state == $IS_OPEN then
		rH, rL = minus(rH, rL, hi, lo)
		sH, sL = plus(sH, sL, hi, lo)
		holds = holds + 1
	elseif state == $IS_COMMITTED then
		rH, rL = minus(rH, rL, hi, lo)
		cH, cL = plus(cH, cL, hi, lo)
	end
	local backHi, backLo = minus(rH, rL, epoch[$REMAINING_HI], epoch[$REMAINING_LO])
	local w = a[$WINDOW]
	if w then -- the reserved amounts of all epochs fit 64 bits together
		local addedHi, addedLo = minus(sH, sL, epoch[$RESERVED_HI], epoch[$RESERVED_LO])
		local allHi, allLo = plus(a[$RESERVED_HI], a[$RESERVED_LO], w[$ENDED_HI], w[$ENDED_LO])
		if plus(allHi, allLo, addedHi, addedLo) > 2147483647 then
			return false
		end
	end
	if sH < 0 or cH < 0 or holds < 0 or sH > 2147483647 or cH > 2147483647 or rH > 2147483647 or rH <= -2147483648 then
		return false
	elseif epoch ~= a and plus(sH, sL, cH, cL) > 2147483647 then
		return false -- its granted grows with debt
	elseif epoch ~= a and plus(a[$REMAINING_HI], a[$REMAINING_LO], backHi, backLo) <= -2147483648 then
		return false -- at most that much moves on
	elseif check then
		return true
	end
	if a[$HOLDS] == 0 and state == $IS_OPEN then
		a[$DEADLINE], a[$YOUNG], a[$OLDER], a[$TURN] = 0, 0, 0, sequence
	end
	local keptHi, keptLo = minus(sH, sL, epoch[$RESERVED_HI], epoch[$RESERVED_LO])
	epoch[$REMAINING_HI], epoch[$REMAINING_LO], epoch[$RESERVED_HI], epoch[$RESERVED_LO] = rH, rL, sH, sL
	epoch[$COMMITTED_HI], epoch[$COMMITTED_LO], a[$HOLDS] = cH, cL, holds
	if part then
		local wasIn, isIn = was == $IS_COMMITTED, state == $IS_COMMITTED
		addToPart(i, part, minus(isIn and hi or 0, isIn and lo or 0, wasIn and wasHi or 0, wasIn and wasLo or 0))
	end
	if epoch ~= a then
		passOn(i, epoch, backHi, backLo, keptHi, keptLo)
	end
	if was == $IS_OPEN and wasMade <= a[$TURN] then
		a[$OLDER] = a[$OLDER] - 1
		if a[$OLDER] <= 0 then
			a[$DEADLINE], a[$YOUNG], a[$OLDER], a[$TURN] = a[$YOUNG], 0, holds, sequence
		end
	end
	if state == $IS_OPEN then
		local generation = $YOUNG
		if a[$TURN] == sequence then
			a[$OLDER], generation = a[$OLDER] + 1, $DEADLINE
		end
		if ending ~= 0 and (a[generation] == 0 or ending < a[generation]) then
			a[generation] = ending
		end
	end
	return true
end

-- madeBy returns the time, at or before made, at which a hold that is restored counts as made
-- for an account. A clock may have gone back with the failover, and an epoch may not have
-- begun yet: the hold belongs to the one that the account is in.
local function madeBy(i, made)
	local w = account[i][$WINDOW]
	if w and w[$PERIOD] > 0 then
		local next = w[$AHEAD][1]
		made = math.min(made, next and next - 1 or w[$RING] and made or w[$MARK])
	end
	return math.min(made, now)
end

if not accountsOf then
	-- Here stands places.lua.
	$ON_PLACES
end

-- invalidate keeps a late duplicate of the batch that made an id from taking effect
-- after the merge: it changes the session that the duplicate would follow. The node of
-- that session, if it lives, finds a gap, as it would in any case.
local function invalidate(field, session)
	local name = 's' .. sub(field, 2, 9)
	if session and name ~= sessionField and sub(session, 1, 1) ~= $SESSION_REPAIRING then
		set[size + 1], set[size + 2] = name, sub(session, 1, 17) .. pack('>I6', read('>I6', session, 18) + 1)
		size = size + 2
	end
end

-- refusedAgain reports whether the batch of an id is the last one of its maker's
-- session, and its stored reply is not that the hold was made.
local function refusedAgain(field, session)
	local hi, lo = read('>I4I4', field, 10)
	if #session < $SESSION_BYTES or hi * 4194304 + math.floor(lo / 1024) ~= read('>I8', session, 2) then
		return false
	end
	local code = byte(call('HGET', ledger, 'r' .. sub(field, 2, 9)) or '', 9 + lo % 1024)
	return code and string.char(code) ~= $CODE_RESERVED
end

local function put(field, record)
	set[size + 1], set[size + 2] = field, record
	size = size + 2
	became[field] = record
end

-- finish stores a tombstone; serial is that of the hold, since and ended are the sequences
-- of its creation and its end, all as bytes; owner is its levels and its tenant.
local function finish(field, state, heldText, serial, made, since, ended, actual, owner)
	put(field, state .. heldText .. serial .. since .. made .. nowBytes .. ended .. actual .. owner)
	expired, remove = expired or {}, remove or {}
	expired[#expired + 1] = field
	remove[#remove + 1] = field
end

local nothing = '\0\0\0\0\0\0\0\0'

local function merge(i, field, value)
	local state, hi, lo, at, ending = read('>BI4I4I6I6', arguments, position)
	local letter, amount, made, madeAt = sub(arguments, position, position), sub(arguments, position + 1, position + 8), sub(arguments, position + 9, position + 14), nil
	local deadlineBytes = sub(arguments, position + 15, position + 20)
	position = position + 21
	local levels, newest = 1, lastSerial
	if parents and parents[i] > 0 then
		levels, position = byte(arguments, position), position + 1
	end
	local a = account[i]
	if blocked[i] == $CODE_CORRUPT then
		return blocked[i]
	elseif not a then
		return $CODE_NO_TENANT
	end
	local was, wasHi, wasLo, wasMade, heldText, since, ended = nil, 0, 0, 0, amount, sequenceBytes, sequenceBytes
	if value then
		was = byte(value)
		if not order[was] or #value < (was == $IS_OPEN and $HOLD_BYTES or $TOMBSTONE_BYTES) then
			damaged = damaged or field
			return $CODE_CORRUPT
		end
		local _, heldHi, heldLo, number, sequenceMade = read($HOLD, value)
		newest = number >= $SEVERAL and number - $SEVERAL or number
		if a[$SERIAL] > newest or number < $SEVERAL and number ~= a[$SERIAL] then
			return $CODE_FORGOTTEN
		end
		levels = byte(value, was == $IS_OPEN and $HOLD_BYTES or $TOMBSTONE_BYTES)
		wasHi, wasLo, wasMade, heldText, made = heldHi, heldLo, sequenceMade, sub(value, 2, 9), sub(value, 22, 27)
		-- A hold that ended earlier keeps the sequence of its end: audits depend on it.
		since, ended = sub(value, 16, 21), was == $IS_OPEN and sequenceBytes or sub(value, 34, 39)
		if was == $IS_COMMITTED then
			wasHi, wasLo = read('>I4I4', value, 40)
		end
		local higher = order[state] > order[was]
			or state == $IS_COMMITTED and was == state and (hi > wasHi or hi == wasHi and lo > wasLo)
		if not higher then
			return $CODE_AS_HIGH
		end
	end
	local places, part, last = accountsOf(sub(fields[i], 2), levels, newest, not value and read('>I6', made))
	if not places then
		return $CODE_CORRUPT
	end
	for n = 1, #places do
		if places[n] > accounts and account[places[n]][$WINDOW] then
			enter(places[n])
		end
	end
	local serial, owner
	if value then
		madeAt = read('>I6', made)
		serial, owner = sub(value, 10, 15), string.char(levels) .. sub(fields[i], 2)
	else
		madeAt = read('>I6', made)
		for n = 1, #places do
			madeAt = madeBy(places[n], madeAt)
		end
		made = pack('>I6', madeAt)
		serial, owner = pack('>I6', #places > 1 and last + $SEVERAL or last), string.char(part) .. sub(fields[i], 2)
		local never, session = neverApplied(field)
		if session and not never and not refusedAgain(field, session) then
			return $CODE_FORGOTTEN
		end
		invalidate(field, session)
		if state == $IS_OPEN and ending ~= 0 and ending <= now then
			finish(field, $EXPIRED, amount, serial, made, since, ended, nothing, owner) -- it would end at once
			return $CODE_MERGED
		end
	end
	for n = 1, #places do
		if not shift(places[n], madeAt, was, wasHi, wasLo, wasMade, state, hi, lo, ending, true) then
			return $CODE_OVERFLOW
		end
	end
	for n = 1, #places do
		shift(places[n], madeAt, was, wasHi, wasLo, wasMade, state, hi, lo, ending)
		dirty[places[n]] = true
		if account[places[n]][$REACHED] then
			cross(places[n])
		end
	end
	if state == $IS_OPEN then
		put(field, $OPEN .. amount .. serial .. sequenceBytes .. made .. deadlineBytes .. owner)
		if ending ~= 0 then
			schedule(ending, field)
		end
	else
		finish(field, letter, heldText, serial, made, since, ended, state == $IS_COMMITTED and amount or nothing, owner)
	end
	return was and was ~= $IS_OPEN and $CODE_MERGED_OVER or $CODE_MERGED
end
