-- merge: what a node was told of a hold goes back into books that have lost it
-- (PROTOCOL.md, R2 to R5).
--
-- Invariant: the states of a hold have an order, absent < open < ended without
-- cost < committed, and committed(a) < committed(b) where a < b. A merge only
-- raises, and moves the account from the state that is stored to the one that is
-- merged, so that the law stands, reserved is the sum of the open holds, and a
-- repeat changes nothing. It asks nobody for the money: what was spent twice
-- meanwhile makes remaining negative.

-- less compares two amounts by their decimal texts.
local function less(a, b)
	return #a < #b or (#a == #b and a < b)
end

-- forgottenUntil is the time up to which a tombstone may have been dropped: an id
-- that is not there, and was told of before, may have ended since.
local function forgottenUntil(b, ring)
	if not b.floor then
		local head, tail = (ring or '0 0 0'):match('^(%d+) (%d+) %d+$')
		local oldest = tail ~= '0' and (redis.call('HGET', b.books, 'd' .. tail) or b.nowText) or '0'
		b.floor = oldest:match('^%d+') + 0
	end
	return b.floor
end

-- fits reports whether a sum of limbs is within 64 bits.
local function fits(hi, lo)
	hi, lo = carry(hi, lo)
	if hi < 0 then
		hi, lo = carry(-hi, -lo)
	end
	return hi < 9223372036 or (hi == 9223372036 and lo <= 854775807) -- 2^63-1
end

-- move changes an account by what a hold in a state holds and has cost.
local function move(account, state, amount, sign)
	local hi, lo = limbs(amount)
	hi, lo = sign * hi, sign * lo
	if state == 'o' then
		credit(account, -hi, -lo)
		hold(account, hi, lo)
	elseif state == 'c' then
		credit(account, -hi, -lo)
		account.ch, account.cl, account.c = account.ch + hi, account.cl + lo, nil
	end
end

-- bar keeps the batch that made an id from taking effect after all, by a late
-- duplicate, now that its id is there: the session that it would follow on becomes
-- another one. Its node, if it lives, finds a gap, as it would in any case.
local function bar(b, field)
	local name = 's' .. field:sub(2, 17)
	local session = name ~= b.session and lostBatch(b, field)
	if session then
		local last, digest, at = session:match('^(%d+) ([%x-]+) (%d+)$')
		local set, size = b.set, b.size
		set[size + 1], set[size + 2] = name, last .. ' ' .. digest .. (' %d'):format(at + 1)
		b.size = size + 2
	end
end

local order = { o = 1, l = 2, x = 2, c = 3 }

local function merge(b, account, field, value, text, ring)
	value = b.ended[field] or value
	local state, amount, at, deadline = text:match('^([olc])(%d+) (%d+) ?(%d*)$')
	split(amount)
	if not account.g then
		return 'T'
	end
	local was, had = (value or ''):match('^([olxc])(%d+) %d+ ?%d*$')
	if value and (not was or was == 'o' and not (heldBy(value) and counted(account, limbs(had)))) then
		b.corrupt = b.corrupt or field
		return 'i' -- nobody hears it
	elseif was then
		if order[was] > order[state] or (order[was] == order[state] and not (state == 'c' and less(had, amount))) then
			return 'i'
		end
	elseif at + 0 <= forgottenUntil(b, ring) then
		return 'o'
	elseif state == 'o' and deadline ~= '0' and deadline + 0 <= b.now then
		bar(b, field)
		finish(b, field, 'x', amount) -- it would end at once
		return 'm'
	end
	if was then
		move(account, was, had, -1)
	else
		bar(b, field)
	end
	move(account, state, amount, 1)
	if not (fits(account.rh, account.rl) and fits(account.sh, account.sl) and fits(account.ch, account.cl)) then
		move(account, state, amount, -1)
		if was then
			move(account, was, had, 1)
		end
		return 'V'
	end
	if state == 'o' then
		local set, size = b.set, b.size
		set[size + 1], set[size + 2] = field, text
		b.size = size + 2
		b.ended[field] = text
		if deadline ~= '0' then
			b.add[#b.add + 1], b.add[#b.add + 2] = deadline, field
		end
	else
		finish(b, field, state, amount)
	end
	return was and was ~= 'o' and 'u' or 'm'
end
