-- endings: how holds end, and what is remembered of them.
--
-- A hold's field h<id><level> is "o<held> <made> <deadline>" while it is open (a
-- deadline of 0 is none) and a tombstone afterwards: "c<actual> <at>" committed,
-- "l<held> <at>" released, "x<held> <at>" expired. Tombstones are listed in ring
-- records d<n>: "<at>\n<field>\n<field>…".
--
-- Invariant: a hold that is open is counted in its account's reserved, once; a
-- tombstone never becomes open again. So a hold ends once, whoever ends it.
local RETENTION = 600000
local TOMBSTONES = 4096

-- newEndings collects what a script ends, for its write phase.
local function newEndings()
	return { values = {}, fields = {}, timers = {}, dropped = {} }
end

local function finish(endings, family, field, state, amount)
	endings.values[field] = state .. amount .. format(' %.0f', family.now)
	endings.fields[#endings.fields + 1] = field
	endings.timers[#endings.timers + 1] = field
end

-- sweep ends what the timers call due. It returns nil, or the field that is
-- corrupt. accounts maps fields to accounts and gains those that it had to load.
local function sweep(books, due, family, accounts, endings, fresh)
	local values = redis.call('HMGET', books, unpack(due))
	local missing, seen = {}, {}
	for i = 1, #due do
		local field = 'a' .. sub(due[i], 34)
		if byte(due[i]) == 104 and values[i] and not accounts[field] and not seen[field] then
			seen[field] = true
			missing[#missing + 1] = field
		end
	end
	if #missing > 0 then
		local texts = redis.call('HMGET', books, unpack(missing))
		for i = 1, #missing do
			local account = readAccount(missing[i], texts[i])
			if not account then
				return missing[i]
			end
			accounts[missing[i]] = account
			fresh[#fresh + 1] = account
		end
	end
	for i = 1, #due do
		local field, value = due[i], values[i]
		local kind = byte(field)
		if kind == 104 and value and byte(value) == 111 then
			local account = accounts['a' .. sub(field, 34)]
			local held = match(value, '^o(%d+) %d+ %d+$')
			if not held or not account.exists then
				return field
			end
			local hi, lo = split(held)
			credit(account, hi, lo)
			account.sh, account.sl = account.sh - hi, account.sl - lo
			account.dirty = true
			finish(endings, family, field, 'x', held)
		elseif kind == 115 and value then
			endings.sessions = endings.sessions or {}
			endings.sessions[#endings.sessions + 1] = field
			endings.sessions[#endings.sessions + 1] = value
		else
			endings.timers[#endings.timers + 1] = field
		end
	end
	return nil
end

-- forget picks the oldest tombstone records that are too old or too many. Each
-- record names at least one tombstone, so looking at one more record than there
-- are new tombstones keeps the ring from growing beyond its bound.
local function forget(books, family, endings)
	local new = #endings.fields
	family.count = family.count + new
	if new == 0 then
		return
	end
	local stop = math.min(family.head, family.tail + new + 1)
	while family.tail < stop do
		local names = {}
		for i = family.tail, math.min(family.tail + 1, stop - 1) do
			names[#names + 1] = format('d%.0f', i)
		end
		local records = redis.call('HMGET', books, unpack(names))
		for i = 1, #names do
			local at, list = match(records[i] or '', '^(%d+)\n(.*)$')
			if not at or (family.count <= TOMBSTONES and family.now - tonumber(at) <= RETENTION) then
				return
			end
			local fields = { names[i] }
			for field in string.gmatch(list, '[^\n]+') do
				fields[#fields + 1] = field
			end
			endings.dropped[#endings.dropped + 1] = fields
			family.count = family.count - (#fields - 1)
			family.tail = family.tail + 1
		end
	end
end

-- writeEndings adds the tombstones and their record to the one HSET of a script.
local function writeEndings(family, endings, set)
	if #endings.fields == 0 then
		return
	end
	for i = 1, #endings.fields do
		local field = endings.fields[i]
		set[#set + 1] = field
		set[#set + 1] = endings.values[field]
	end
	set[#set + 1] = format('d%.0f', family.head)
	set[#set + 1] = format('%.0f\n', family.now) .. table.concat(endings.fields, '\n')
	family.head = family.head + 1
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
