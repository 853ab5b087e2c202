-- endings: how holds end, and what is remembered of them.
--
-- A hold's field h<id><level> is "o<held> <made> <deadline>" while it is open (a
-- deadline of 0 is none) and a tombstone afterwards: "c<actual> <at>" committed,
-- "l<held> <at>" released, "x<held> <at>" expired. Tombstones are listed in ring
-- records d<n>: "<at>\n<field>\n<field>…".
--
-- Invariant: a hold that is open is counted in its account's reserved, once; a
-- tombstone never becomes open again. So a hold ends once, whoever ends it.
--
-- A tombstone speaks for 10 minutes (600000 ms), and at most 4096 are kept. A
-- session that is silent for 7 days (604800000 ms) goes.
-- newEndings collects what a script ends, for its write phase.
local function newEndings(nowText)
	return { at = ' ' .. nowText, values = {}, fields = {}, timers = {}, dropped = {} }
end

local function finish(endings, field, state, amount)
	endings.values[field] = state .. amount .. endings.at
	local n = #endings.fields + 1
	endings.fields[n] = field
	n = #endings.timers + 1
	endings.timers[n] = field
end

-- endSession renews the timer of a session in use; one unused for the retention
-- goes, reply and all. own is the session that the script itself writes.
local function endSession(endings, add, field, value, now, own)
	local seen = field == own and now or (value:match(' (%d+)$') or 0) + 0
	if seen + 604800000 > now then
		add[#add + 1] = ('%d'):format(seen + 604800000)
		add[#add + 1] = field
	else
		endings.dropped[#endings.dropped + 1] = { field, 'r' .. field:sub(2) }
		endings.timers[#endings.timers + 1] = field
	end
end

-- sweep ends what the timers call due. It returns nil, or the field that is
-- corrupt. Accounts that it has to load are added to accounts.
local function sweep(books, due, now, accounts, endings, add, own)
	local values = redis.call('HMGET', books, unpack(due))
	local byField = {}
	for i = 1, #accounts do
		byField[accounts[i].field] = accounts[i]
	end
	for i = 1, #due do
		local field, value = due[i], values[i]
		local kind = field:byte()
		if kind == 104 and value and value:byte() == 111 then
			local name = 'a' .. field:sub(34)
			local account = byField[name]
			if not account then
				account = readAccount(name, redis.call('HGET', books, name))
				accounts[#accounts + 1], byField[name] = account, account
			end
			local held = value:match('^o(%d+) %d+ %d+$')
			if not account or not account.g or not held then
				return account and field or name
			end
			local hi, lo = split(held)
			credit(account, hi, lo)
			hold(account, -hi, -lo)
			finish(endings, field, 'x', held)
		elseif kind == 115 and value then
			endSession(endings, add, field, value, now, own)
		else
			endings.timers[#endings.timers + 1] = field
		end
	end
	return nil
end

-- nextDue returns the time of the first timer after now, '0' where there is none.
local function nextDue(timers, nowText)
	local first = redis.call('ZRANGEBYSCORE', timers, '(' .. nowText, '9007199254740992', 'WITHSCORES', 'LIMIT', 0, 1)
	return first[2] and ('%d'):format(first[2] + 0) or '0'
end

-- earliest returns the first of a time ('0': none) and the times in a ZADD's
-- arguments.
local function earliest(first, add)
	for i = 1, #add, 2 do
		if first == '0' or add[i] + 0 < first + 0 then
			first = add[i]
		end
	end
	return first
end

-- remember adds the tombstones and their record to the one HSET of a script, and
-- picks the oldest records to drop: where there are too many, as many as are new,
-- since each names at least one; and every 32 records those that are too old, at
-- most twice as many as have come. It returns the new size of set.
local function remember(books, ring, now, endings, set, size)
	local fields = endings.fields
	local new = #fields
	if new == 0 then
		return size
	end
	local head, tail, count = (ring or '0 0 0'):match('^(%d+) (%d+) (%d+)$')
	head, tail, count = head + 0, tail + 0, count + new
	for i = 1, new do
		set[size + 1], set[size + 2] = fields[i], endings.values[fields[i]]
		size = size + 2
	end
	local record = endings.at:sub(2) .. '\n' .. table.concat(fields, '\n')
	if head == 16 then
		-- A value of more than 64 bytes makes Redis keep the hash as a table from
		-- here on; as a list, up to 128 fields, it is searched from end to end.
		record = record .. ('\n'):rep(64)
	end
	set[size + 1], set[size + 2] = ('d%d'):format(head), record
	local stop = tail
	if count > 4096 then
		stop = math.min(head, tail + new + 1)
	elseif head % 32 == 31 then
		stop = math.min(head, tail + 64)
	end
	while tail < stop do
		local name = ('d%d'):format(tail)
		local record = redis.call('HGET', books, name) or ''
		local at = record:match('^(%d+)\n')
		if not at or (count <= 4096 and now - at <= 600000) then
			break
		end
		local gone = { name }
		for field in record:sub(#at + 2):gmatch('[^\n]+') do
			gone[#gone + 1] = field
		end
		endings.dropped[#endings.dropped + 1] = gone
		count = count - (#gone - 1)
		tail = tail + 1
	end
	set[size + 3], set[size + 4] = 'd', ('%d %d %d'):format(head + 1, tail, count)
	return size + 4
end

-- cleanUp comes after the HSET; a crash before it leaves timers that find
-- nothing open and records that name nothing, which is harmless.
local function cleanUp(books, timers, endings)
	for i = 1, #endings.dropped do
		redis.call('HDEL', books, unpack(endings.dropped[i]))
	end
	if #endings.timers > 0 then
		redis.call('ZREM', timers, unpack(endings.timers))
	end
end
