-- single: a batch of one reserve or settle of one account, as nearly all are where
-- tenants are many. It follows the rules of batch.lua, which say all that may happen,
-- without the tables and functions that a batch of several operations needs. Keys,
-- arguments and replies are those of batch.lua, and so are its codes R, I, C and L.
--
-- Invariant: it decides only where the batch is admitted, nothing is due, and the
-- account and the hold are there and whole; then it keeps batch.lua's invariant, and
-- writes as endings.lua's write does. Else it returns nil and has written nothing.

local KEYS, ARGV = KEYS, ARGV
local node, clock, ttl = ARGV[1], ARGV[2], ARGV[3] + 0
local retention, retained, most = ARGV[4] + 0, ARGV[5] + 0, ARGV[6] + 0
local session, answered = 's' .. node, 'r' .. node

-- The families of a call mostly share one time.
local lastNow, nowText, ends, deadline, lasting
local function timed(now)
	if now ~= lastNow then
		lastNow, nowText = now, format('%d', now)
		ends = now + ttl
		deadline = ttl > 0 and format('%d', ends) or false
		lasting = ' ' .. nowText .. ' ' .. (deadline or '0')
	end
end

local function singleReserve(books, timers, base, text, first, now)
	local g, r, s, c, rh, rl, sh, sl = terms(text)
	if not g or (most > 0 and call('ZCARD', timers) > most) then
		return nil
	end
	local cost, field = ARGV[base + 8], ARGV[base + 9]
	local hi, lo = split(cost)
	timed(now)
	local stamp = ARGV[base + 3] .. ' ' .. nowText
	rh, rl = less(rh, rl, hi, lo)
	if not rh then
		local refusal = 'APPLIED I ' .. nowText .. ' ' .. r
		call('HSET', books, 't', nowText, session, stamp, answered, refusal)
		return refusal
	end
	local reply = 'APPLIED R ' .. nowText .. ' ' .. r
	local account = g .. ' ' .. join(rh, rl) .. ' ' .. join(sh + hi, sl + lo) .. ' ' .. c
	if deadline then
		call('ZADD', timers, deadline, field)
	end
	if deadline and (first == '0' or ends < first + 0) then
		call('HSET', books, 't', nowText, field, 'o' .. cost .. lasting, session, stamp, answered, reply, ARGV[base + 7], account, 'n', deadline)
	else
		call('HSET', books, 't', nowText, field, 'o' .. cost .. lasting, session, stamp, answered, reply, ARGV[base + 7], account)
	end
	return reply
end

local function singleSettle(books, timers, base, text, value, ring, now, actual)
	local held = value and heldBy(value)
	local g, r, _, _, rh, rl, sh, sl, ch, cl = terms(text)
	if not held or not g then
		return nil
	end
	local heldHi, heldLo = limbs(held)
	sh, sl = less(sh, sl, heldHi, heldLo)
	if not sh then
		return nil
	end
	rh, rl = rh + heldHi, rl + heldLo
	local field, code, ending = ARGV[base + 8], 'L', 'l' .. held
	if actual then
		local hi, lo = split(actual)
		local leftHi, leftLo = carry(rh - hi, rl - lo)
		if leftHi < 0 and (hi > heldHi or (hi == heldHi and lo > heldLo)) then
			return nil
		end
		rh, rl, ch, cl = leftHi, leftLo, ch + hi, cl + lo
		code, ending = 'C', 'c' .. actual
	end
	timed(now)
	local reply = 'APPLIED ' .. code .. ' ' .. nowText .. ' ' .. r .. ' ' .. held
	local name, record, dropped
	name, record, ring, dropped = remember(books, ring, now, nowText, field, 1, retention, retained)
	call('HSET', books, 't', nowText, field, ending .. ' ' .. nowText, name, record, 'd', ring,
		session, ARGV[base + 3] .. ' ' .. nowText, answered, reply,
		ARGV[base + 7], g .. ' ' .. join(rh, rl) .. ' ' .. join(sh, sl) .. ' ' .. join(ch, cl))
	for i = 1, dropped and #dropped or 0 do
		redis.pcall('HDEL', books, unpack(dropped[i]))
	end
	redis.pcall('ZREM', timers, field)
	return reply
end

local function single(books, timers, base)
	local counts, kind = ARGV[base + 5], ARGV[base + 6]
	local settles = counts == '1025' and (kind == 'c' or kind == 'l')
	if not settles and not (counts == '1024' and kind == 'r') then
		return nil
	end
	local read
	if settles then
		read = call('HMGET', books, 'f', session, 't', 'n', ARGV[base + 7], ARGV[base + 8], 'd')
	else
		read = call('HMGET', books, 'f', session, 't', 'n', ARGV[base + 7])
	end
	local last, first, text = read[2], read[4], read[5]
	if read[1] ~= ARGV[base + 1] or last ~= ARGV[base + 2] or not (first and text) or find(last, ' 0 ', 1, true) then
		return nil
	end
	local now = tick(read[3], clock)
	if now > ARGV[base + 4] + 0 or (first ~= '0' and first + 0 <= now) then
		return nil
	end
	if settles then
		return singleSettle(books, timers, base, text, read[6], read[7], now, kind == 'c' and ARGV[base + 9] or nil)
	end
	return singleReserve(books, timers, base, text, first, now)
end

if #KEYS == 2 and not MEMORY_SHORT then
	local reply = single(KEYS[1], KEYS[2], 7)
	if reply then
		return reply
	end
end
