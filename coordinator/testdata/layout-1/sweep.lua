#!lua flags=allow-oom
local OLDEST_LAYOUT, LAYOUT = 1, 1
-- amount: exact arithmetic on amounts of up to 64 bits.
--
-- A Lua number is a double and rounds above 2^53, so an amount is never one. It
-- is a pair of limbs, value = hi * 10^9 + lo, made from its decimal text by
-- cutting the text. Each limb is a small integer, exact in a double. A pair is
-- normal when 0 <= lo < 10^9; hi carries the sign.
--
-- Invariant: a sum of pairs is the exact sum. A sum may be left without carry
-- (limb by limb) for up to 2000 terms, since 2000 * 10^9 is far below 2^53.
--
-- Scripts build their functions anew at every call, and each local that a
-- function captures costs more than the function. So these take what they need
-- as arguments and call string functions as methods.

-- limbs returns the pair of a text that is known to be 1 to 19 digits. The 1 in
-- front keeps miniredis from reading leading zeros as an octal number.
local function limbs(text)
	local length = #text
	if length < 10 then
		return 0, text + 0
	end
	return text:sub(1, length - 9) + 0, ('1' .. text:sub(length - 8)) - 1000000000
end

-- split returns the pair of an argument, or ends the script.
local function split(text)
	if #text > 19 or not text:find('^%d+$') then
		error('BURSAR malformed amount: ' .. text:sub(1, 40), 0)
	end
	return limbs(text)
end

-- carry makes a pair normal.
local function carry(hi, lo)
	local rest = lo % 1000000000
	return hi + (lo - rest) / 1000000000, rest
end

-- join returns the decimal text of a pair.
local function join(hi, lo)
	hi, lo = carry(hi, lo)
	if hi > 0 then
		return ('%d%09d'):format(hi, lo)
	elseif hi == 0 then
		return ('%d'):format(lo)
	end
	return '-' .. join(-hi, -lo)
end

-- family: what every script reads first, and the accounts.
--
-- Fields of a family: f is "version incarnation" and never changes; t the latest
-- time in milliseconds that the family has seen; n a time before which no timer
-- is due, 0 where there is none; d the ring of tombstone records, "head tail
-- count". An account's field a<level> is "granted remaining reserved committed".
--
-- Invariant: an account is used only where it is whole and
-- remaining + reserved + committed = granted; a script that finds anything else
-- answers CORRUPT and has written nothing.

-- known reports whether a layout is one that these scripts read. A family stays in
-- the layout that it was created in.
local function known(version)
	return version and version + 0 >= OLDEST_LAYOUT and version + 0 <= LAYOUT
end

-- refuseFamily says why a family's field is not the expected one.
local function refuseFamily(text)
	if not text then
		return 'NOFAMILY'
	end
	local version, born = text:match('^(%d+) (%x*)')
	if not known(version) then
		return 'LAYOUT ' .. (version or '?')
	end
	return 'INCARNATION ' .. born
end

-- tick returns the family's time: the server's, which is one instant for a whole
-- script, or the caller's clock in tests, and never earlier than before. A node's
-- own clock has no say.
local serverTime
local function tick(stored, clock)
	local now = serverTime
	if clock ~= '' then
		now = clock + 0
	elseif not now then
		local time = redis.call('TIME')
		now = time[1] * 1000 + math.floor(time[2] / 1000)
		serverTime = now
	end
	if stored and stored + 0 > now then
		return stored + 0
	end
	return now
end

-- readAccount returns the account (without g where there is none; the text - is
-- one that was deleted), or nil where the stored text breaks the invariant. The
-- texts g, s and c stand for granted, reserved and committed until those change,
-- and then they are nil.
local function readAccount(field, text)
	if not text or text == '-' then
		return { field = field, rh = 0, rl = 0, sh = 0, sl = 0, ch = 0, cl = 0 }
	end
	local g, r, s, c = text:match('^(%d+) (%-?%d+) (%d+) (%d+)$')
	if not g or #g > 19 or #r > 20 or #s > 19 or #c > 19 then
		return nil
	end
	local gh, gl = limbs(g)
	local sh, sl = limbs(s)
	local ch, cl = limbs(c)
	local rh, rl
	if r:byte() == 45 then
		rh, rl = limbs(r:sub(2))
		rh, rl = carry(-rh, -rl)
	else
		rh, rl = limbs(r)
	end
	local hi, lo = carry(rh + sh + ch, rl + sl + cl)
	if hi ~= gh or lo ~= gl then
		return nil
	end
	return { field = field, g = g, s = s, c = c, gh = gh, gl = gl, rh = rh, rl = rl, sh = sh, sl = sl, ch = ch, cl = cl, before = r }
end

local function accountText(account)
	if not account.g then
		return '-'
	end
	return account.g .. ' ' .. join(account.rh, account.rl) .. ' '
		.. (account.s or join(account.sh, account.sl)) .. ' ' .. (account.c or join(account.ch, account.cl))
end

-- credit returns an amount to remaining. It cannot overflow: by the law the
-- result is at most granted.
local function credit(account, hi, lo)
	account.rh, account.rl = carry(account.rh + hi, account.rl + lo)
	account.dirty = true
end

-- debitIfAvailable takes an amount from remaining where remaining covers it, as
-- the function of that name does in the local engine. There a compare-and-swap
-- makes the test and the debit one step; here the script is one step.
local function debitIfAvailable(account, hi, lo)
	local h, l = account.rh - hi, account.rl - lo
	if l < 0 then
		h, l = h - 1, l + 1000000000
	end
	if h < 0 then
		return false
	end
	account.rh, account.rl, account.dirty = h, l, true
	return true
end

-- hold moves reserved by the amount of a hold that begins, or (negative) ends.
local function hold(account, hi, lo)
	account.sh, account.sl, account.s = account.sh + hi, account.sl + lo, nil
	account.dirty = true
end

-- counted reports whether a hold of that amount can be among what is reserved.
local function counted(account, hi, lo)
	hi = carry(account.sh - hi, account.sl - lo)
	return hi >= 0
end

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

-- newWrites collects what a script will write: set and its size, the arguments of
-- the HSET; add, those of the ZADD; ended, what holds have become in this script,
-- and fields, their names; timers and dropped, what goes besides, if anything.
-- The families of one call mostly share one time and its text.
local textOf, lastText
local function newWrites(now, retention, retained)
	if textOf ~= now then
		textOf, lastText = now, ('%d'):format(now)
	end
	local nowText = lastText
	return {
		now = now, nowText = nowText, retention = retention, retained = retained, add = {}, ended = {}, fields = {}, timers = false, dropped = false,
		-- The nils make room, so that a small batch does not grow the table.
		set = { 't', nowText, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil }, size = 2,
	}
end

-- heldBy returns what a hold that is open holds, or nil where it is not that text.
local function heldBy(value)
	local held = value:match('^o(%d+) %d+ %d+$')
	return held and #held <= 19 and held or nil
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
	local text = state .. amount .. ' ' .. b.nowText
	b.ended[field] = text
	b.fields[#b.fields + 1] = field
	local set, size = b.set, b.size
	set[size + 1], set[size + 2] = field, text
	b.size = size + 2
end

-- stillTold returns the state of a tombstone that may still be told, else nil.
local function stillTold(b, value)
	local state, at = value:match('^(%l)%d+ (%d+)$')
	return state and b.now - at <= b.retention + 0 and state or nil
end

-- dropRecord forgets the holds that a record names, and the record.
local function dropRecord(b, name, fields)
	local gone = { name }
	for field in fields:gmatch('[^\n]+') do
		gone[#gone + 1] = field
	end
	drop(b, gone)
	return #gone - 1
end

-- sweep ends what the timers call due. It returns nil, or the field that is
-- corrupt. Accounts that it has to load are added to accounts. The timer of a
-- session in use is renewed; one that is silent for the retention goes, reply and
-- all, and so does one that was closed. own is the session that the script itself
-- writes.
local function sweep(books, due, b, accounts, own)
	local records = 0
	local function endSession(field, value)
		local seen = field == own and b.now or (value:match('%x (%d+)$') or 0) + 0
		if seen + 604800000 > b.now then
			b.add[#b.add + 1] = ('%d'):format(seen + 604800000)
			b.add[#b.add + 1] = field
		else
			drop(b, { field, 'r' .. field:sub(2) })
			expel(b, field)
		end
	end
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
				b.add[#b.add + 1] = ('%d'):format(b.now + 1000)
				b.add[#b.add + 1] = field
			else
				dropRecord(b, field, value)
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
local function earliest(first, add)
	for i = 1, #add, 2 do
		if first == '0' or add[i] + 0 < first + 0 then
			first = add[i]
		end
	end
	return first
end

-- remember adds the record of what has ended, and picks the oldest records to
-- drop: where there are too many, as many as are new, since each names at least
-- one; and every 32 records those that are too old, at most twice as many as
-- have come.
local function remember(books, ring, b)
	local new = #b.fields
	local head, tail, count = (ring or '0 0 0'):match('^(%d+) (%d+) (%d+)$')
	head, tail, count = head + 0, tail + 0, count + new
	local record = b.nowText .. '\n' .. table.concat(b.fields, '\n')
	if head == 16 then
		-- A value of more than 64 bytes makes Redis keep the hash as a table from
		-- here on; as a list, up to 128 fields, it is searched from end to end.
		record = record .. ('\n'):rep(64)
	end
	local set, size = b.set, b.size
	set[size + 1], set[size + 2] = ('d%d'):format(head), record
	local stop, retained, retention = tail, b.retained + 0, b.retention + 0
	if count > retained then
		stop = math.min(head, tail + new + 1)
	elseif head % 32 == 31 then
		stop = math.min(head, tail + 64)
	end
	while tail < stop do
		local name = ('d%d'):format(tail)
		local old = redis.call('HGET', books, name) or ''
		local at = old:match('^(%d+)\n')
		if not at or (count <= retained and b.now - at <= retention) then
			break
		end
		count = count - dropRecord(b, name, old:sub(#at + 2))
		tail = tail + 1
	end
	set[size + 3], set[size + 4] = 'd', ('%d %d %d'):format(head + 1, tail, count)
	b.size = size + 4
end

-- write comes after every check and decision: deadlines first, since one without
-- a hold ends nothing; then all that is money, with its session, at once; then
-- what is no longer needed, which is harmless where it stays; it may fail, so
-- that an error of a script always means that nothing was written. first is a time
-- before which no other timer is due, stored the one that Redis has.
local function write(books, timers, b, accounts, ring, stored, first)
	if #b.fields > 0 and b.record then
		local set, size, add = b.set, b.size, b.add
		set[size + 1], set[size + 2] = b.record, table.concat(b.fields, '\n')
		b.size = size + 2
		add[#add + 1], add[#add + 2] = ('%d'):format(b.now + b.retention), b.record
	elseif #b.fields > 0 then
		remember(books, ring, b)
	end
	local set, size, add = b.set, b.size, b.add
	for i = 1, #accounts do
		if accounts[i].dirty then
			set[size + 1], set[size + 2] = accounts[i].field, accountText(accounts[i])
			size = size + 2
			if not accounts[i].g then
				drop(b, { accounts[i].field })
			end
		end
	end
	if #add > 0 then
		redis.call('ZADD', timers, unpack(add))
		first = earliest(first, add)
	end
	if first ~= stored then
		set[size + 1], set[size + 2] = 'n', first
		size = size + 2
	end
	redis.call('HSET', books, unpack(set, 1, size))
	for i = 1, b.dropped and #b.dropped or 0 do
		redis.pcall('HDEL', books, unpack(b.dropped[i]))
	end
	if #b.fields > 0 then
		redis.pcall('ZREM', timers, unpack(b.fields))
	end
	if b.timers then
		redis.pcall('ZREM', timers, unpack(b.timers))
	end
end

-- sweep: ends holds that are due, when they are too many for a batch.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 the family's field f   2 clock in milliseconds, '' for the server's
--       3 how long, in ms, and 4 of how many holds it is remembered how they ended
-- Reply SWEPT left, where left is 1 while more is due;
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, CORRUPT field
--
-- Invariant: as for batch. It carries no number: it ends only what is open and
-- due, so a repeat finds less to do and can do no harm.
local books, timers = KEYS[1], KEYS[2]
local bound = 500

local read = redis.call('HMGET', books, 'f', 't', 'd')
if read[1] ~= ARGV[1] then
	return refuseFamily(read[1])
end
local b, accounts = newWrites(tick(read[2], ARGV[2]), ARGV[3], ARGV[4]), {}
local due = redis.call('ZRANGEBYSCORE', timers, '-inf', b.nowText, 'LIMIT', 0, bound + 1)
local left = #due > bound
due[bound + 1] = nil
if #due > 0 then
	local corrupt = sweep(books, due, b, accounts, '')
	if corrupt then
		return 'CORRUPT ' .. corrupt
	end
end
write(books, timers, b, accounts, read[3], '', left and b.nowText or nextDue(timers, b.nowText))
return left and 'SWEPT 1' or 'SWEPT 0'
