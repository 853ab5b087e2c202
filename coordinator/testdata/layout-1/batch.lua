#!lua
local OLDEST_LAYOUT, LAYOUT = 1, 1
local MEMORY_SHORT, MERGES = false, false
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

-- sessions: every batch takes effect once (PROTOCOL.md, S1 to S10).
--
-- A node's field s<node> is "last digest time" of the last batch that it had
-- applied (digest 0: none yet; -: closed), and r<node> the reply of that batch. They are
-- written by the same HSET as the batch's money, so they say exactly what took
-- effect. While more of a repair follows, the digest has -<since> behind it: the last
-- batch that was there when it began.
--
-- Invariant: batch n takes effect only where the session is the very one that the
-- node was told of, and moves last to n. So it takes effect once, whatever is lost,
-- delayed or repeated. The time is part of it: a batch that a promoted replica had
-- not received may be applied there once more, by a late duplicate, and then other
-- things may follow from it; the node has to hear of that. For the same reason a
-- batch that is late takes no effect any more, and since a family's time never goes
-- back it never will.

-- refuseSession says what to answer where the last batch is not prev.
local function refuseSession(books, session, node, number, digest)
	if not session then
		return 'NOSESSION'
	end
	local last, lastDigest = session:match('^(%d+) ([%x-]+) %d+$')
	if not last then
		return 'CORRUPT s' .. node
	end
	if last == number then
		if lastDigest:match('^%x*') == digest then
			return redis.call('HGET', books, 'r' .. node)
		end
		return 'CLONED'
	end
	if last + 0 > number + 0 then
		return 'STALE ' .. last
	end
	return 'GAP ' .. session .. ' ' .. (redis.call('HGET', books, 'r' .. node) or '')
end

-- beyond reports whether the batch that made an id is beyond what its node's session
-- shows, so that this family never had it, and returns the session; nil where there
-- is none. An id is node 64, number 54 and index 10 bits, in hexadecimal after the h.
local function beyond(b, field)
	local name = 's' .. field:sub(2, 17)
	local session = redis.call('HGET', b.books, name)
	local last, digest = (session or ''):match('^(%d+) ([%x-]+) %d+$')
	local since = last and (digest:match('-(%d+)$') or last)
	if name == b.session and b.since ~= '' then
		since = b.since
	end
	-- Not an amount. Nodes count from 1; where an id made by hand has more than the 53 bits
	-- of a double, rounding leaves it above any number that a session can have come to.
	local number = tonumber(field:sub(18, 30), 16) * 4 + math.floor(tonumber(field:sub(31, 31), 16) / 4)
	return since and since + 0 < number, session
end

-- batch: applies numbered batches of operations, each to one family, in order.
--
-- KEYS  two a family: books (hash), timers (sorted set), both with its hash tag.
--       Several families go along only where no slots are (no Cluster).
-- ARGV  a family's arguments, one family after the other:
--       0 how many follow
--       1 the family's field f, "version incarnation"
--       2 node, 16 hexadecimal digits
--       3 the node's session here as it was told of it: "last digest time"
--       4 number of this batch   5 digest of the operations, hexadecimal
--       6 clock in milliseconds, '' for the server's   7 hold TTL in ms, 0 for none
--       8 count of accounts (A)   9 count of settles, lookups and merges (S)
--      10 kinds, one letter an operation   11 accounts, one byte each ('0' the first)
--      12 how long, in ms, and 13 of how many holds it is remembered how they ended
--      14 the family's time until which the batch may take effect, in ms
--      15 most timers of the family (open holds with a deadline, sessions), 0 for any
--      16 of a repair the last batch that was here when it began, else ''
--      17 what to put behind the digest: - and 16 while more of the repair follows, or ''
--      then A account fields, S hold fields (one each, in order), and by kind:
--        r reserve: cost, hold field        d reserve: cost, hold field, TTL in ms
--        c commit: actual    l release: –   e ensure: budget
--        g grant: amount     w withdraw: amount   b balance: –   q remaining: –
--        k lookup: –         x delete the tenant: –
--        m merge: the hold's text, as endings.lua describes it
--      amounts in microcents, decimal
-- Reply of one family, a string; of several, a list of them (and there an error
--       is a string ERROR text, so that it does not hide the others' replies):
--       APPLIED codes time remaining… value…: a code an operation; the family's time
--       in milliseconds; for each account
--       remaining as the first operation met it ('-': none); the values of C, L
--       (held), B, X and H (granted, reserved, committed) and K (the hold's text,
--       two words or, where it is open, three), in order.
--       R reserved  I insufficient  T no tenant  C committed  L released  O overrun
--       n c l x: no open hold (not known why; was committed, released, expired)
--       E created  e exists  G granted  V overflow  W withdrawn  B Q found
--       K known  k not known  X deleted  H not deleted, since it has open holds
--       M refused for lack of memory  F refused, since too many holds are open
--       y no hold, and Redis has lost the batch that made it
--       m merged  u merged over how it ended otherwise  i as high already
--       o it was here, and how it ended is forgotten
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, NOSESSION, CLONED,
--       STALE last, GAP last digest time reply, EXPIRED time, MORE (first run sweep),
--       CORRUPT field
--
-- Invariant: for every account remaining + reserved + committed = granted before
-- and after; reserved is the sum of its open holds; nothing is written unless
-- the batch is admitted, and then all of it, with the session, by one HSET. No
-- family's batch has a part in another's.

-- What the functions below share about one family's batch is its table b, made
-- by newWrites, and in it the values of the reply.

-- reserve holds cost; lasting is what the hold's text ends with.
local function reserve(b, account, cost, field, lasting, deadline)
	if not account.g then
		return 'T'
	end
	local hi, lo = split(cost)
	if MEMORY_SHORT then
		return 'M'
	elseif b.room < 1 then
		return 'F'
	end
	if not debitIfAvailable(account, hi, lo) then
		return 'I'
	end
	hold(account, hi, lo)
	local set, size = b.set, b.size
	set[size + 1], set[size + 2] = field, 'o' .. cost .. lasting
	b.size = size + 2
	if deadline then
		b.room = b.room - 1
		local add = b.add
		local n = #add
		add[n + 1], add[n + 2] = deadline, field
	end
	return 'R'
end

-- settle ends a hold: at actual, or returns all of it where actual is nil.
local function settle(b, account, field, value, actual)
	value = b.ended[field] or value
	if not value then
		return beyond(b, field) and 'y' or 'n'
	end
	if value:byte() ~= 111 then -- not open
		return stillTold(b, value) or 'n'
	end
	if not account.g then
		return 'T'
	end
	local held = heldBy(value)
	local heldHi, heldLo = limbs(held or '0')
	if not held or not counted(account, heldHi, heldLo) then
		b.corrupt = b.corrupt or field
		return 'n' -- nobody hears it
	end
	if not actual then
		credit(account, heldHi, heldLo)
		finish(b, field, 'l', held)
	else
		local hi, lo = split(actual)
		local overHi, overLo = carry(hi - heldHi, lo - heldLo)
		if overHi < 0 then
			credit(account, -overHi, -overLo)
		elseif (overHi > 0 or overLo > 0) and not debitIfAvailable(account, overHi, overLo) then
			return 'O'
		end
		account.ch, account.cl, account.c = account.ch + hi, account.cl + lo, nil
		finish(b, field, 'c', actual)
	end
	hold(account, -heldHi, -heldLo)
	b.values[#b.values + 1] = held
	return actual and 'C' or 'L'
end

-- adjust creates an account, or moves its granted and remaining alike.
local function adjust(account, kind, amount)
	local hi, lo = split(amount)
	if kind == 101 and account.g then
		return 'e'
	elseif kind ~= 101 and not account.g then
		return 'T'
	elseif kind ~= 119 and MEMORY_SHORT then
		return 'M'
	end
	if kind == 101 then
		account.g, account.gh, account.gl = amount, hi, lo
		credit(account, hi, lo)
		return 'E'
	elseif kind == 119 then
		if not debitIfAvailable(account, hi, lo) then
			return 'I'
		end
		account.gh, account.gl = carry(account.gh - hi, account.gl - lo)
	else
		local gh, gl = carry(account.gh + hi, account.gl + lo)
		if gh > 9223372036 or (gh == 9223372036 and gl > 854775807) then -- 2^63-1
			return 'V'
		end
		account.gh, account.gl = gh, gl
		credit(account, hi, lo)
	end
	account.g = join(account.gh, account.gl)
	return kind == 119 and 'W' or 'G'
end

-- look reads an account, or (120) deletes it where it has no open holds: with its
-- committed money, so that the terms of the law go together.
local function look(b, account, kind)
	if not account.g then
		return 'T'
	elseif kind == 113 then
		return 'Q'
	end
	local values = b.values
	local n = #values
	values[n + 1] = account.g
	values[n + 2] = join(account.sh, account.sl)
	values[n + 3] = join(account.ch, account.cl)
	if kind == 98 then
		return 'B'
	end
	local hi, lo = carry(account.sh, account.sl)
	if hi ~= 0 or lo ~= 0 then
		return 'H'
	end
	for key, value in pairs(readAccount(account.field, '-')) do
		account[key] = value
	end
	account.g, account.s, account.c, account.dirty = nil, nil, nil, true
	return 'X'
end

-- lookup tells what became of a hold.
local function lookup(b, field, value)
	value = b.ended[field] or value
	if not value or (value:byte() ~= 111 and not stillTold(b, value)) then
		return 'k'
	end
	b.values[#b.values + 1] = value
	return 'K'
end

-- decide runs the operations in memory and returns their codes. base is where
-- the family's arguments are; settling and argument where its holds to settle
-- and its operations' arguments begin; read[settling + offset] is a hold's text.
local function decide(b, accounts, read, base, settling, argument, offset)
	local kinds, accountOf, codes = { ARGV[base + 10]:byte(1, -1) }, { ARGV[base + 11]:byte(1, -1) }, {}
	local deadline, lasting
	for i = 1, #kinds do
		local kind, account = kinds[i], accounts[accountOf[i] - 47]
		local code
		if kind == 114 then
			if not lasting then
				local ttl = ARGV[base + 7] + 0
				deadline = ttl > 0 and ('%d'):format(b.now + ttl) or nil
				lasting = ' ' .. b.nowText .. ' ' .. (deadline or '0')
			end
			code = reserve(b, account, ARGV[argument], ARGV[argument + 1], lasting, deadline)
			argument = argument + 2
		elseif kind == 99 then
			code = settle(b, account, ARGV[settling], read[settling + offset], ARGV[argument])
			argument, settling = argument + 1, settling + 1
		elseif kind == 108 then
			code = settle(b, account, ARGV[settling], read[settling + offset])
			settling = settling + 1
		elseif kind == 100 then
			local own = ARGV[argument + 2] + 0
			local ends = own > 0 and ('%d'):format(b.now + own) or nil
			code = reserve(b, account, ARGV[argument], ARGV[argument + 1], ' ' .. b.nowText .. ' ' .. (ends or '0'), ends)
			argument = argument + 3
		elseif kind == 101 or kind == 103 or kind == 119 then
			code = adjust(account, kind, ARGV[argument])
			argument = argument + 1
		elseif kind == 98 or kind == 113 or kind == 120 then
			code = look(b, account, kind)
		elseif kind == 107 then
			code = lookup(b, ARGV[settling], read[settling + offset])
			settling = settling + 1
		elseif kind == 109 then
			code = merge(b, account, ARGV[settling], read[settling + offset], ARGV[argument])
			argument, settling = argument + 1, settling + 1
		else
			error('BURSAR malformed kind: ' .. kind, 0)
		end
		codes[i] = code
	end
	return table.concat(codes)
end

-- expire ends what is due before anything is decided. It returns the time before
-- which nothing more is due, or nil and the refusal.
local function expire(books, timers, b, accounts, first, kinds, session)
	if first == '0' or first + 0 > b.now then
		return first
	end
	-- The bound keeps a call short, and above what it adds, so that endings keep up.
	local bound = math.min(2 * #kinds + 64, 640)
	local due = redis.call('ZRANGEBYSCORE', timers, '-inf', b.nowText, 'LIMIT', 0, bound + 1)
	if #due > bound then
		return nil, 'MORE'
	end
	if #due > 0 then
		local corrupt = sweep(books, due, b, accounts, session)
		if corrupt then
			return nil, 'CORRUPT ' .. corrupt
		end
	end
	return nextDue(timers, b.nowText)
end

local function apply(books, timers, base)
	local node, number, digest = ARGV[base + 2], ARGV[base + 4], ARGV[base + 5]
	local accountCount, session = ARGV[base + 8] + 0, 's' .. node
	local settling = base + 18 + accountCount
	local argument = settling + ARGV[base + 9]
	local read = redis.call('HMGET', books, 'f', 't', 'n', 'd', session, unpack(ARGV, base + 18, argument - 1))
	if read[1] ~= ARGV[base + 1] then
		return refuseFamily(read[1])
	end
	if read[5] ~= ARGV[base + 3] then
		return refuseSession(books, read[5], node, number, digest)
	end
	local accounts = {}
	for i = 1, accountCount do
		local field = ARGV[base + 17 + i]
		accounts[i] = readAccount(field, read[5 + i])
		if not accounts[i] then
			return 'CORRUPT ' .. field
		end
	end

	local b = newWrites(tick(read[2], ARGV[base + 6]), ARGV[base + 12], ARGV[base + 13])
	if b.now > ARGV[base + 14] + 0 then
		return 'EXPIRED ' .. b.nowText
	end
	b.values, b.books, b.session, b.since, b.room = {}, books, session, ARGV[base + 16], 1000
	local most = ARGV[base + 15] + 0
	if most > 0 and ARGV[base + 10]:find('[rd]') then
		b.room = most + 1 - redis.call('ZCARD', timers) -- the sentinel is no hold
	end
	local first, refusal = expire(books, timers, b, accounts, read[3] or '0', ARGV[base + 10], session)
	if not first then
		return refusal
	end
	local before = ''
	for i = 1, accountCount do
		local account = accounts[i]
		before = before .. ' ' .. (account.dirty and join(account.rh, account.rl) or account.before or '-')
	end
	local codes = decide(b, accounts, read, base, settling, argument, -base - 12)
	if b.corrupt then
		return 'CORRUPT ' .. b.corrupt
	end
	local reply = 'APPLIED ' .. codes .. ' ' .. b.nowText .. before
	if #b.values > 0 then
		reply = reply .. ' ' .. table.concat(b.values, ' ')
	end
	b.record = MERGES and 'm' .. node .. number
	local set, size = b.set, b.size
	set[size + 1], set[size + 2] = session, number .. ' ' .. digest .. ARGV[base + 17] .. ' ' .. b.nowText
	set[size + 3], set[size + 4] = 'r' .. node, reply
	b.size = size + 4
	if read[5]:find(' 0 ', 1, true) then -- digest 0: the session's first batch
		b.add[#b.add + 1], b.add[#b.add + 2] = ('%d'):format(b.now + 604800000), session
	end
	write(books, timers, b, accounts, read[4], read[3], first)
	return reply
end

if #KEYS == 2 then
	return apply(KEYS[1], KEYS[2], 1)
end
local replies, base = {}, 1
for i = 1, #KEYS, 2 do
	local ok, reply = pcall(apply, KEYS[i], KEYS[i + 1], base)
	if not ok then
		reply = 'ERROR ' .. (type(reply) == 'table' and reply.err or tostring(reply))
	end
	replies[#replies + 1] = reply
	base = base + ARGV[base] + 1
end
return replies
