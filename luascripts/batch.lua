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
