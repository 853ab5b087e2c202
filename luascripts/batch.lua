-- batch: applies numbered batches of operations, each to one family, in order.
--
-- KEYS  two a family: books (hash), timers (sorted set), both with its hash tag.
--       Several families go along only where no slots are (no Cluster).
-- ARGV  what all families share:
--       1 node, 16 hexadecimal digits   2 clock in milliseconds, '' for the server's
--       3 hold TTL in ms, 0 for none
--       4 how long, in ms, and 5 of how many holds it is remembered how they ended
--       6 most timers of a family (open holds with a deadline, sessions), 0 for any
--       of a merge also 7 the last batch that was here when the repair began, and 8 what
--       to put behind the digest: - and 7 while more of the repair follows, or ''
--       then a family's own, one family after the other:
--       0 how many follow
--       1 the family's field f, "version incarnation"
--       2 the node's session here as it was told of it: "last digest time"
--       3 number of this batch and digest of the operations: "number digest"
--       4 the family's time until which the batch may take effect, in ms
--       5 1024 times the count of accounts (A), and the count of settles, lookups and
--         merges (S)
--       6 kinds, one letter an operation; of several accounts, behind them the account
--         of each operation, one byte each ('0' the first)
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

-- What the functions below share about one family's batch is b, see endings.lua.

-- reserve holds cost; ending is what the hold's text ends with.
local function reserve(b, account, cost, field, ending, deadline)
	if not account.g then
		return 'T'
	end
	local hi, lo = split(cost)
	if MEMORY_SHORT then
		return 'M'
	end
	if b.most > 0 and not b.room then
		b.room = b.most + 1 - call('ZCARD', b.timersKey) -- the sentinel is no hold
	end
	if b.room and b.room < 1 then
		return 'F'
	end
	if not debitIfAvailable(account, hi, lo) then
		return 'I'
	end
	hold(account, hi, lo)
	put(b, field, 'o' .. cost .. ending)
	if deadline then
		b.room = b.room and b.room - 1
		schedule(b, deadline, field)
	end
	return 'R'
end

-- tell adds a value to the reply.
local function tell(b, value)
	local n = b.told + 1
	b.values[n], b.told = value, n
end

-- current returns what a hold is by now: what it has become in this batch, or its text.
local function current(b, field, value)
	return b.ended and b.ended[field] or value
end

-- settle ends a hold: at actual, or returns all of it where actual is nil.
local function settle(b, account, field, value, actual)
	value = current(b, field, value)
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
	tell(b, held)
	return actual and 'C' or 'L'
end

-- adjust creates an account, or moves its granted and remaining alike.
local function adjust(account, kind, amount)
	local hi, lo = split(amount)
	local gh, gl = limbs(account.g or '0')
	if kind == 101 and account.g then
		return 'e'
	elseif kind ~= 101 and not account.g then
		return 'T'
	elseif kind ~= 119 and MEMORY_SHORT then
		return 'M'
	end
	if kind == 101 then
		account.g = join(hi, lo)
		credit(account, hi, lo)
		return 'E'
	elseif kind == 119 then
		if not debitIfAvailable(account, hi, lo) then
			return 'I'
		end
		gh, gl = carry(gh - hi, gl - lo)
	else
		gh, gl = carry(gh + hi, gl + lo)
		if gh > 9223372036 or (gh == 9223372036 and gl > 854775807) then -- 2^63-1
			return 'V'
		end
		credit(account, hi, lo)
	end
	account.g = join(gh, gl)
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
	tell(b, account.g)
	tell(b, join(account.sh, account.sl))
	tell(b, join(account.ch, account.cl))
	if kind == 98 then
		return 'B'
	end
	local hi, lo = carry(account.sh, account.sl)
	if hi ~= 0 or lo ~= 0 then
		return 'H'
	end
	readAccount(account, account.field, '-')
	account.dirty = true
	return 'X'
end

-- lookup tells what became of a hold.
local function lookup(b, field, value)
	value = current(b, field, value)
	if not value or (value:byte() ~= 111 and not stillTold(b, value)) then
		return 'k'
	end
	tell(b, value)
	return 'K'
end

-- due returns when a hold made now ends ('0': never) and what its text ends with.
local function due(b, ttl)
	local deadline = ttl > 0 and ('%d'):format(b.now + ttl) or nil
	return deadline, ' ' .. b.nowText .. ' ' .. (deadline or '0')
end

-- decide runs the operations in memory and returns their codes. settling and argument
-- are where the holds to settle and the operations' arguments begin; the text of the
-- hold at settling is read[settling + offset].
local codes = { false }
local function decide(b, kinds, operations, read, settling, argument, offset)
	local accounts = b.accounts
	local account, several = accounts[1], #kinds > operations
	for i = 1, operations do
		local kind, code = kinds:byte(i), nil
		if several then
			account = accounts[kinds:byte(operations + i) - 47]
		end
		if kind == 114 then
			if not b.lasting then -- the families of a call mostly share one time
				b.deadline, b.lasting = due(b, b.ttl)
			end
			code = reserve(b, account, ARGV[argument], ARGV[argument + 1], b.lasting, b.deadline)
			argument = argument + 2
		elseif kind == 99 then
			code = settle(b, account, ARGV[settling], read[settling + offset], ARGV[argument])
			argument, settling = argument + 1, settling + 1
		elseif kind == 108 then
			code = settle(b, account, ARGV[settling], read[settling + offset])
			settling = settling + 1
		elseif kind == 100 then
			local deadline, ending = due(b, ARGV[argument + 2] + 0)
			code = reserve(b, account, ARGV[argument], ARGV[argument + 1], ending, deadline)
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
	return operations == 1 and codes[1] or table.concat(codes, '', 1, operations)
end

-- expire ends what is due before anything is decided. It returns the time before
-- which nothing more is due, or nil and the refusal.
local function expire(books, timers, b, first, operations)
	if first == '0' or first + 0 > b.now then
		return first
	end
	-- The bound keeps a call short, and above what it adds, so that endings keep up.
	local bound = math.min(2 * operations + 64, 640)
	local ending = redis.call('ZRANGEBYSCORE', timers, '-inf', b.nowText, 'LIMIT', 0, bound + 1)
	if #ending > bound then
		return nil, 'MORE'
	end
	if #ending > 0 then
		local corrupt = sweep(books, ending, b, b.session)
		if corrupt then
			return nil, 'CORRUPT ' .. corrupt
		end
	end
	return nextDue(timers, b.nowText)
end

local behind = MERGES and ARGV[8] or ''
writes.ttl, writes.retention, writes.retained, writes.most = ttl, retention, retained, most
writes.session, writes.since = session, MERGES and ARGV[7] or ''

local function apply(books, timers, base)
	local mark, counts, kinds = ARGV[base + 3], ARGV[base + 5] + 0, ARGV[base + 6]
	local settles = counts % 1024
	local accountCount = (counts - settles) / 1024
	local operations = accountCount > 1 and #kinds / 2 or #kinds
	local settling = base + 7 + accountCount
	local argument = settling + settles
	local read = call('HMGET', books, 'f', 't', 'n', 'd', session, unpack(ARGV, base + 7, argument - 1))
	if read[1] ~= ARGV[base + 1] then
		return refuseFamily(read[1])
	end
	local last = read[5]
	if last ~= ARGV[base + 2] then
		return refuseSession(books, last, node, mark)
	end
	local b = newWrites(tick(read[2], clock))
	if b.now > ARGV[base + 4] + 0 then
		return 'EXPIRED ' .. b.nowText
	end
	local accounts = b.accounts
	for i = 1, accountCount do
		local field = ARGV[base + 6 + i]
		accounts[i] = accounts[i] or {}
		if not readAccount(accounts[i], field, read[5 + i]) then
			return 'CORRUPT ' .. field
		end
	end
	b.count, b.books, b.timersKey = accountCount, books, timers

	local first, refusal = expire(books, timers, b, read[3] or '0', operations)
	if not first then
		return refusal
	end
	local before = ''
	for i = 1, accountCount do
		local account = accounts[i]
		before = before .. ' ' .. (account.dirty and join(account.rh, account.rl) or account.before)
	end
	local reply = 'APPLIED ' .. decide(b, kinds, operations, read, settling, argument, -base - 1) .. ' ' .. b.nowText .. before
	if b.corrupt then
		return 'CORRUPT ' .. b.corrupt
	end
	if b.told > 0 then
		reply = reply .. ' ' .. table.concat(b.values, ' ', 1, b.told)
	end
	local set, size = b.set, b.size
	set[size + 1], set[size + 2] = session, mark .. behind .. ' ' .. b.nowText
	set[size + 3], set[size + 4] = answered, reply
	b.size = size + 4
	if find(last, ' 0 ', 1, true) then -- digest 0: the session's first batch
		schedule(b, ('%d'):format(b.now + 604800000), session)
	end
	write(books, timers, b, MERGES and 'm' .. node .. mark:match('^%d+'), read[4], read[3], first)
	return reply
end

local base = MERGES and 9 or 7
if #KEYS == 2 then
	return apply(KEYS[1], KEYS[2], base)
end
local replies = {}
for i = 1, #KEYS, 2 do
	local ok, reply = pcall(single, KEYS[i], KEYS[i + 1], base)
	if ok and not reply then
		ok, reply = pcall(apply, KEYS[i], KEYS[i + 1], base)
	end
	if not ok then
		reply = 'ERROR ' .. (type(reply) == 'table' and reply.err or tostring(reply))
	end
	replies[(i + 1) / 2] = reply
	base = base + ARGV[base] + 1
end
return replies
