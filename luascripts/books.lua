-- books: what every batch reads of a family first, its time and its accounts' terms,
-- and the ring of what has ended.
--
-- Fields of a family: f is "version incarnation" and never changes; t the latest
-- time in milliseconds that the family has seen; n a time before which no timer
-- is due, 0 where there is none; d the ring of tombstone records, "head tail
-- count". An account's field a<level> is "granted remaining reserved committed".
--
-- Invariant: an account is used only where it is whole and
-- remaining + reserved + committed = granted; a script that finds anything else
-- answers CORRUPT and has written nothing.

-- tick returns the family's time: the server's, which is one instant for a whole
-- script, or the caller's clock in tests, and never earlier than before. A node's
-- own clock has no say.
local serverTime
local function tick(stored, clock)
	local now = serverTime
	if clock ~= '' then
		now = clock + 0
	elseif not now then
		local time = call('TIME')
		now = time[1] * 1000 + math.floor(time[2] / 1000)
		serverTime = now
	end
	if stored and stored + 0 > now then
		return stored + 0
	end
	return now
end

-- terms returns the texts of an account's terms and the pairs of all but granted, or
-- nil where its text breaks the invariant.
local function terms(text)
	local g, r, s, c = match(text, '^(%d+) (%-?%d+) (%d+) (%d+)$')
	if not g or #g > 19 or #r > 20 or #s > 19 or #c > 19 then
		return nil
	end
	local sh, sl = limbs(s)
	local ch, cl = limbs(c)
	local rh, rl
	if byte(r) == 45 then
		rh, rl = limbs(sub(r, 2))
		rh, rl = carry(-rh, -rl)
	else
		rh, rl = limbs(r)
	end
	if join(rh + sh + ch, rl + sl + cl) ~= g then
		return nil
	end
	return g, r, s, c, rh, rl, sh, sl, ch, cl
end

-- less takes one pair from another, both normal, and returns what is left, or nil
-- where it does not cover it.
local function less(hi, lo, byHi, byLo)
	hi, lo = hi - byHi, lo - byLo
	if lo < 0 then
		hi, lo = hi - 1, lo + 1000000000
	end
	if hi >= 0 then
		return hi, lo
	end
end

-- heldBy returns what a hold that is open holds, or nil where it is not that text.
local function heldBy(value)
	local held = match(value, '^o(%d+) %d+ %d+$')
	return held and #held <= 19 and held or nil
end

-- recordOf is a ring record and the holds that it names.
local function recordOf(name, fields)
	local all = { name }
	for field in fields:gmatch('[^\n]+') do
		all[#all + 1] = field
	end
	return all
end

-- remember makes the record of holds that have ended (fields, new of them), and picks
-- the oldest records to drop: where there are too many, as many as are new, since each
-- names at least one; and every 32 records those that are too old, at most twice as
-- many as have come. It returns the record's name and text, the ring, and what to drop.
local function remember(books, ring, now, nowText, fields, new, retention, retained)
	local head, tail, count = match(ring or '0 0 0', '^(%d+) (%d+) (%d+)$')
	local name = 'd' .. head
	head, tail, count = head + 0, tail + 0, count + new
	local record = nowText .. '\n' .. fields
	if head == 16 then
		-- A value of more than 64 bytes makes Redis keep the hash as a table from
		-- here on; as a list, up to 128 fields, it is searched from end to end.
		record = record .. ('\n'):rep(64)
	end
	local stop, dropped = tail, nil
	if count > retained then
		stop = math.min(head, tail + new + 1)
	elseif head % 32 == 31 then
		stop = math.min(head, tail + 64)
	end
	while tail < stop do
		local oldest = format('d%d', tail)
		local old = call('HGET', books, oldest) or ''
		local at = match(old, '^(%d+)\n')
		if not at or (count <= retained and now - at <= retention) then
			break
		end
		dropped = dropped or {}
		dropped[#dropped + 1] = recordOf(oldest, sub(old, #at + 2))
		count = count - #dropped[#dropped] + 1
		tail = tail + 1
	end
	return name, record, format('%d %d %d', head + 1, tail, count), dropped
end
