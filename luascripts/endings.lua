-- endings: how holds end, and what is remembered of them.
--
-- A hold's field h<id><level> is "o<held> <made> <deadline>" while it is open (a
-- deadline of 0 is none) and a tombstone afterwards: "c<actual> <at>" committed,
-- "l<held> <at>" released, "x<held> <at>" expired. Tombstones are listed in ring
-- records d<n>: "<at>\n<field>\n<field>…". Those of a repair are in a record
-- m<node><number> "<field>\n<field>…", each with a timer, and stay for the whole
-- retention, however many they are: other nodes may merge the same holds yet.
--
-- Invariant: a hold that is open is counted in its account's reserved, once; a
-- tombstone never becomes open again. So a hold ends once, whoever ends it.
--
-- A tombstone speaks for the retention that the node asks for, and a family keeps
-- so many as it asks for. A session that is silent for 7 days (604800000 ms) goes.

-- What a script will write to one family, and what its batch shares: set and its size,
-- the arguments of the HSET; add and added, those of the ZADD; fields and finished, the
-- holds that end; accounts and their count; values and their number told, for the reply;
-- and for one family alone ended, what its holds have become, timers and dropped, what
-- goes besides, and corrupt, the field that broke an invariant. Tables cost more to make
-- than to use, so the families of a call take turns with these, and to grow, so they are
-- made with all that a small batch needs.
local writes = {
	now = false, nowText = false, lasting = false, deadline = false, ended = false, timers = false, dropped = false, corrupt = false, room = false,
	size = 0, added = 0, finished = 0, count = 0, told = 0, ttl = 0, retention = 0, retained = 0, most = 0,
	session = false, since = false, books = false, timersKey = false,
	add = { false, false, false, false }, fields = { false }, values = { false },
	set = { 't', false, false, false, false, false, false, false, false, false, false, false, false, false, false, false },
	accounts = { { field = false, dirty = false, before = false, g = false, s = false, c = false, rh = 0, rl = 0, sh = 0, sl = 0, ch = 0, cl = 0 } },
}

local function newWrites(now)
	local b = writes
	if b.now ~= now then
		b.now, b.nowText, b.lasting = now, format('%d', now), false
	end
	b.set[2] = b.nowText
	b.size, b.added, b.finished, b.count, b.told = 2, 0, 0, 0, 0
	b.ended, b.timers, b.dropped, b.corrupt, b.room = false, false, false, false, false
	return b
end

-- schedule adds a timer.
local function schedule(b, at, member)
	local add, n = b.add, b.added
	add[n + 1], add[n + 2] = at, member
	b.added = n + 2
end

-- put adds a field to what is written.
local function put(b, field, text)
	local set, size = b.set, b.size
	set[size + 1], set[size + 2] = field, text
	b.size = size + 2
end

-- drop notes fields of the books to delete, and expel a member of the timers.
local function drop(b, fields)
	b.dropped = b.dropped or {}
	b.dropped[#b.dropped + 1] = fields
end

local function expel(b, member)
	b.timers = b.timers or {}
	b.timers[#b.timers + 1] = member
end

local function finish(b, field, state, amount)
	local text, n = state .. amount .. ' ' .. b.nowText, b.finished + 1
	b.ended = b.ended or {}
	b.ended[field] = text
	b.fields[n], b.finished = field, n
	put(b, field, text)
end

-- stillTold returns the state of a tombstone that may still be told, else nil.
local function stillTold(b, value)
	local state, at = value:match('^(%l)%d+ (%d+)$')
	return state and b.now - at <= b.retention and state or nil
end

-- sweep ends what the timers call due. It returns nil, or the field that is
-- corrupt. Accounts that it has to load are added to those of b. The timer of a
-- session in use is renewed; one that is silent for the retention goes, reply and
-- all, and so does one that was closed. own is the session that the script itself
-- writes.
local function sweep(books, due, b, own)
	local records = 0
	local function endSession(field, value)
		local seen = field == own and b.now or (value:match('%x (%d+)$') or 0) + 0
		if seen + 604800000 > b.now then
			schedule(b, ('%d'):format(seen + 604800000), field)
		else
			drop(b, { field, 'r' .. field:sub(2) })
			expel(b, field)
		end
	end
	local values = redis.call('HMGET', books, unpack(due))
	local accounts, byField = b.accounts, {}
	for i = 1, b.count do
		byField[accounts[i].field] = accounts[i]
	end
	for i = 1, #due do
		local field, value = due[i], values[i]
		local kind = field:byte()
		if kind == 104 and value and value:byte() == 111 then
			local name = 'a' .. field:sub(34)
			local account = byField[name]
			if not account then
				account = readAccount({}, name, redis.call('HGET', books, name))
				b.count = b.count + 1
				accounts[b.count], byField[name] = account, account
			end
			local held = heldBy(value)
			if not account or not account.g or not held then
				return account and field or name
			end
			local hi, lo = limbs(held)
			if not counted(account, hi, lo) then
				return field
			end
			credit(account, hi, lo)
			hold(account, -hi, -lo)
			finish(b, field, 'x', held)
		elseif kind == 115 and value then
			endSession(field, value)
		elseif kind == 109 and value then
			records = records + 1
			if records > 4 then -- each may name hundreds
				schedule(b, ('%d'):format(b.now + 1000), field)
			else
				drop(b, recordOf(field, value))
				expel(b, field)
			end
		else
			expel(b, field)
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
local function earliest(first, add, added)
	local before -- most are alike
	for i = 1, added, 2 do
		local at = add[i]
		if at ~= before and (first == '0' or at + 0 < first + 0) then
			first = at
		end
		before = at
	end
	return first
end

-- write comes after every check and decision: deadlines first, since one without
-- a hold ends nothing; then all that is money, with its session, at once; then
-- what is no longer needed, which is harmless where it stays; it may fail, so
-- that an error of a script always means that nothing was written. record names the
-- record of a repair, else nil; first is a time before which no other timer is due,
-- stored the one that Redis has.
local function write(books, timers, b, record, ring, stored, first)
	local finished, accounts = b.finished, b.accounts
	if finished > 0 and record then
		put(b, record, table.concat(b.fields, '\n', 1, finished))
		schedule(b, ('%d'):format(b.now + b.retention), record)
	elseif finished > 0 then
		local name, text, new, dropped = remember(books, ring, b.now, b.nowText, table.concat(b.fields, '\n', 1, finished), finished, b.retention, b.retained)
		put(b, name, text)
		put(b, 'd', new)
		for i = 1, dropped and #dropped or 0 do
			drop(b, dropped[i])
		end
	end
	for i = 1, b.count do
		local account = accounts[i]
		if account.dirty then
			put(b, account.field, accountText(account))
			if not account.g then
				drop(b, { account.field })
			end
		end
	end
	if b.added > 0 then
		call('ZADD', timers, unpack(b.add, 1, b.added))
		first = earliest(first, b.add, b.added)
	end
	if first ~= stored then
		put(b, 'n', first)
	end
	call('HSET', books, unpack(b.set, 1, b.size))
	for i = 1, b.dropped and #b.dropped or 0 do
		redis.pcall('HDEL', books, unpack(b.dropped[i]))
	end
	if finished > 0 then
		redis.pcall('ZREM', timers, unpack(b.fields, 1, finished))
	end
	if b.timers then
		redis.pcall('ZREM', timers, unpack(b.timers))
	end
end
