-- batch: applies the operations of one numbered batch to one family, in order.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 the family's field f, "version incarnation"
--       2 node, 16 hexadecimal digits
--       3 number of the node's batch before this one here   4 number of this one
--       5 digest of the operations, hexadecimal
--       6 clock in milliseconds, '' for the server's   7 hold TTL in ms, 0 for none
--       8 count of accounts (A)   9 count of settles (S)
--      10 kinds, one letter an operation   11 accounts, one byte each ('0' the first)
--      then A account fields, S hold fields (one a settle, in order), and by kind:
--        r reserve: cost, hold field        d reserve: cost, hold field, TTL in ms
--        c commit: actual    l release: –   e ensure: budget
--        g grant: amount     w withdraw: amount   b balance: –   q remaining: –
--      amounts in microcents, decimal
-- Reply APPLIED codes remaining… value…: a code an operation; for each account
--       remaining as the first operation met it ('-': none); the values of C, L
--       (held) and B (granted, reserved, committed), in order.
--       R reserved  I insufficient  T no tenant  C committed  L released  O overrun
--       n c l x: no open hold (not known why; was committed, released, expired)
--       E created  e exists  G granted  V overflow  W withdrawn  B Q found
--       M refused for lack of memory
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, NOSESSION, CLONED,
--       STALE last, GAP last digest reply, MORE (first run sweep), CORRUPT field
--
-- Invariant: for every account remaining + reserved + committed = granted before
-- and after; reserved is the sum of its open holds; nothing is written unless
-- the batch is admitted, and then all of it, with the session, by one HSET.
local books, timers = KEYS[1], KEYS[2]
local node, prev, number, digest = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ttl, accountCount, settleCount = ARGV[7] + 0, ARGV[8] + 0, ARGV[9] + 0
local kinds, accountOf = ARGV[10], ARGV[11]
local firstAccount = 12
local settling = firstAccount + accountCount -- the next hold to settle
local argument = settling + settleCount -- the next argument of an operation
local HEAD = 5 -- fields read before those of accounts and holds
local offset = HEAD + 1 - firstAccount -- from an argument to what was read of it
local session = 's' .. node

local read = redis.call('HMGET', books, 'f', 't', 'n', 'd', session, unpack(ARGV, firstAccount, argument - 1))
if read[1] ~= ARGV[1] then
	return refuseFamily(read[1])
end
if not read[5] or read[5]:sub(1, #prev + 1) ~= prev .. ' ' then
	return refuseSession(books, read[5], node, number, digest)
end

local accounts = {}
for i = 1, accountCount do
	local field = ARGV[firstAccount + i - 1]
	local account = readAccount(field, read[HEAD + i])
	if not account then
		return 'CORRUPT ' .. field
	end
	accounts[i] = account
end

local now = tick(read[2], ARGV[6])
local nowText = ('%d'):format(now)
local endings = settleCount > 0 and newEndings(nowText)
local add, first = {}, read[3] or '0'
-- The nils make room, so that a small batch does not grow the table; size counts.
local set, size = { 't', nowText, session, number .. ' ' .. digest .. ' ' .. nowText, 'r' .. node, nil, nil, nil, nil, nil, nil, nil, nil, nil }, 6

if first ~= '0' and first + 0 <= now then
	-- The bound keeps a call short, and above what it adds, so that endings keep up.
	local bound = math.min(2 * #kinds + 64, 640)
	local due = redis.call('ZRANGEBYSCORE', timers, '-inf', nowText, 'LIMIT', 0, bound + 1)
	if #due > bound then
		return 'MORE'
	end
	if #due > 0 then
		endings = endings or newEndings(nowText)
		local corrupt = sweep(books, due, now, accounts, endings, add, session)
		if corrupt then
			return 'CORRUPT ' .. corrupt
		end
	end
	first = nextDue(timers, nowText)
end

local before = ''
for i = 1, accountCount do
	local account = accounts[i]
	if account.dirty then -- by what was due
		account.before = join(account.rh, account.rl)
	end
	before = before .. ' ' .. (account.before or '-')
end
local values = {}

-- reserve holds cost; lasting is what the hold's text ends with.
local function reserve(account, cost, field, lasting, deadline)
	if not account.g then
		return 'T'
	end
	local hi, lo = split(cost)
	if MEMORY_SHORT then
		return 'M'
	end
	if not debitIfAvailable(account, hi, lo) then
		return 'I'
	end
	hold(account, hi, lo)
	set[size + 1], set[size + 2] = field, 'o' .. cost .. lasting
	size = size + 2
	if deadline then
		local n = #add
		add[n + 1], add[n + 2] = deadline, field
	end
	return 'R'
end

-- settle ends a hold: at actual, or returns all of it where actual is nil.
local function settle(account, field, value, actual)
	value = endings.values[field] or value
	if not value then
		return 'n'
	end
	local state, held, at = value:match('^(%l)(%d+) (%d+)')
	if state ~= 'o' then
		return state and now - at <= 600000 and state or 'n'
	end
	if not account.g then
		return 'T'
	end
	local heldHi, heldLo = split(held)
	if not actual then
		credit(account, heldHi, heldLo)
		finish(endings, field, 'l', held)
	else
		local hi, lo = split(actual)
		local overHi, overLo = carry(hi - heldHi, lo - heldLo)
		if overHi < 0 then
			credit(account, -overHi, -overLo)
		elseif (overHi > 0 or overLo > 0) and not debitIfAvailable(account, overHi, overLo) then
			return 'O'
		end
		account.ch, account.cl, account.c = account.ch + hi, account.cl + lo, nil
		finish(endings, field, 'c', actual)
	end
	hold(account, -heldHi, -heldLo)
	values[#values + 1] = held
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

local function look(account, kind)
	if not account.g then
		return 'T'
	elseif kind == 113 then
		return 'Q'
	end
	local n = #values
	values[n + 1] = account.g
	values[n + 2] = join(account.sh, account.sl)
	values[n + 3] = join(account.ch, account.cl)
	return 'B'
end

local byte, codes = string.byte, {}
local deadline = ttl > 0 and ('%d'):format(now + ttl) or nil
local lasting = ' ' .. nowText .. ' ' .. (deadline or '0')
for i = 1, #kinds do
	local kind, account = byte(kinds, i), accounts[byte(accountOf, i) - 47]
	local code
	if kind == 114 then
		code = reserve(account, ARGV[argument], ARGV[argument + 1], lasting, deadline)
		argument = argument + 2
	elseif kind == 99 then
		code = settle(account, ARGV[settling], read[settling + offset], ARGV[argument])
		argument, settling = argument + 1, settling + 1
	elseif kind == 108 then
		code = settle(account, ARGV[settling], read[settling + offset])
		settling = settling + 1
	elseif kind == 100 then
		local own = ARGV[argument + 2] + 0
		local ends = own > 0 and ('%d'):format(now + own) or nil
		code = reserve(account, ARGV[argument], ARGV[argument + 1], ' ' .. nowText .. ' ' .. (ends or '0'), ends)
		argument = argument + 3
	elseif kind == 101 or kind == 103 or kind == 119 then
		code = adjust(account, kind, ARGV[argument])
		argument = argument + 1
	elseif kind == 98 or kind == 113 then
		code = look(account, kind)
	else
		error('BURSAR malformed kind: ' .. kind, 0)
	end
	codes[i] = code
end

local reply = 'APPLIED ' .. table.concat(codes) .. before
if #values > 0 then
	reply = reply .. ' ' .. table.concat(values, ' ')
end
set[6] = reply
for i = 1, #accounts do
	if accounts[i].dirty then
		set[size + 1], set[size + 2] = accounts[i].field, accountText(accounts[i])
		size = size + 2
	end
end
if endings then
	size = remember(books, read[4], now, endings, set, size)
end
if read[5]:sub(#prev + 2, #prev + 3) == '0 ' then -- the session's first batch
	add[#add + 1], add[#add + 2] = ('%d'):format(now + 604800000), session
end
if #add > 0 then
	redis.call('ZADD', timers, unpack(add))
	first = earliest(first, add)
end
if first ~= read[3] then
	set[size + 1], set[size + 2] = 'n', first
	size = size + 2
end
redis.call('HSET', books, unpack(set, 1, size))
if endings then
	cleanUp(books, timers, endings)
end
return reply
