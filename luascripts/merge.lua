-- merge: what a node was told of a hold goes back into books that have lost it
-- (PROTOCOL.md, R2 to R5).
--
-- Invariant: the states of a hold have an order, absent < open < ended without
-- cost < committed, and committed(a) < committed(b) where a < b. A merge only
-- raises, and moves the account from the state that is stored to the one that is
-- merged, so that the law stands, reserved is the sum of the open holds, and a
-- repeat changes nothing. It asks nobody for the money: what was spent twice
-- meanwhile makes remaining negative. What is not there although its batch was has
-- ended since, nobody can say how, and stays so.

-- smaller compares two amounts by their decimal texts.
local function smaller(a, b)
	return #a < #b or (#a == #b and a < b)
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
local function bar(b, field, session)
	local name = 's' .. field:sub(2, 17)
	local last, digest, at = (session or ''):match('^(%d+) ([%x-]+) (%d+)$')
	if last and name ~= b.session and not digest:find('-', 2, true) then
		put(b, name, last .. ' ' .. digest .. (' %d'):format(at + 1))
	end
end

local order = { o = 1, l = 2, x = 2, c = 3 }

local function merge(b, account, field, value, text)
	value = b.ended and b.ended[field] or value
	local state, amount, deadline = text:match('^([olc])(%d+) %d+ ?(%d*)$')
	split(amount)
	if not account.g then
		return 'T'
	end
	local was, had = (value or ''):match('^([olxc])(%d+) %d+ ?%d*$')
	if value then
		if not was or was == 'o' and not (heldBy(value) and counted(account, limbs(had))) then
			b.corrupt = b.corrupt or field
			return 'i' -- nobody hears it
		elseif order[was] > order[state] or (order[was] == order[state] and not (state == 'c' and smaller(had, amount))) then
			return 'i'
		end
		move(account, was, had, -1)
	else
		local never, session = beyond(b, field)
		if session and not never then
			return 'o'
		end
		bar(b, field, session)
		if state == 'o' and deadline ~= '0' and deadline + 0 <= b.now then
			finish(b, field, 'x', amount) -- it would end at once
			return 'm'
		end
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
		put(b, field, text)
		b.ended = b.ended or {}
		b.ended[field] = text
		if deadline ~= '0' then
			schedule(b, deadline, field)
		end
	else
		finish(b, field, state, amount)
	end
	return was and was ~= 'o' and 'u' or 'm'
end
