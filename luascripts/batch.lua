-- batch: applies the operations of one numbered batch to one family, in order.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 incarnation   2 node, 16 hexadecimal digits
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
local incarnation, node, prev, number, digest = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local clock, ttl = ARGV[6], tonumber(ARGV[7])
local accountCount, settleCount = tonumber(ARGV[8]), tonumber(ARGV[9])
local kinds, accountOf = ARGV[10], ARGV[11]
local firstAccount = 12
local firstSettle = firstAccount + accountCount
local nextArgument = firstSettle + settleCount

local read = redis.call('HMGET', books, 'f', 's' .. node, unpack(ARGV, firstAccount, nextArgument - 1))
local family, refusal = readFamily(read[1], incarnation)
if not family then
	return refusal
end
refusal = admit(books, read[2], node, prev, number, digest)
if refusal then
	return refusal
end

local accounts, byField = {}, {}
for i = 1, accountCount do
	local field = ARGV[firstAccount + i - 1]
	local account = readAccount(field, read[2 + i])
	if not account then
		return 'CORRUPT ' .. field
	end
	accounts[i], byField[field] = account, account
end

tick(family, clock)
local endings, add, set = newEndings(), {}, {}

-- The bound keeps a call short, and above what it adds, so that endings keep up.
local bound = math.min(2 * #kinds + 64, 640)
local due = redis.call('ZRANGEBYSCORE', timers, '-inf', format('%.0f', family.now), 'LIMIT', 0, bound + 1)
if #due > bound then
	return 'MORE'
end
if #due > 0 then
	local corrupt = sweep(books, due, family, byField, endings, accounts)
	if corrupt then
		return 'CORRUPT ' .. corrupt
	end
end

local before = {}
for i = 1, accountCount do
	local account = accounts[i]
	before[i] = account.exists and join(account.rh, account.rl) or '-'
end

local codes, values = {}, {}
local made = format(' %.0f ', family.now)
local deadline = ttl > 0 and format('%.0f', family.now + ttl) or '0'
local settle = 0

local function argument()
	nextArgument = nextArgument + 1
	return ARGV[nextArgument - 1]
end

local function reserve(account, lifetime)
	local cost, field, ends = argument(), argument(), deadline
	if lifetime then
		local own = tonumber(argument())
		ends = own > 0 and format('%.0f', family.now + own) or '0'
	end
	if not account.exists then
		return 'T'
	end
	local hi, lo = split(cost)
	if MEMORY_SHORT then
		return 'M'
	end
	if not debitIfAvailable(account, hi, lo) then
		return 'I'
	end
	account.sh, account.sl = account.sh + hi, account.sl + lo
	account.dirty = true
	local n = #set
	set[n + 1], set[n + 2] = field, 'o' .. cost .. made .. ends
	if ends ~= '0' then
		n = #add
		add[n + 1], add[n + 2] = ends, field
	end
	return 'R'
end

-- openHold returns the field and the held amount of the next settle, or the
-- field, nil and the code that says how the hold ended.
local function openHold()
	settle = settle + 1
	local field = ARGV[firstSettle + settle - 1]
	local value = endings.values[field] or read[2 + accountCount + settle]
	if not value then
		return field, nil, 'n'
	end
	local held = match(value, '^o(%d+) ')
	if held then
		return field, held
	end
	local state, at = match(value, '^([clx])%d+ (%d+)$')
	if not state or family.now - tonumber(at) > RETENTION then
		state = 'n'
	end
	return field, nil, state
end

local function commit(account)
	local actual = argument()
	local field, held, ended = openHold()
	if not held then
		return ended
	end
	if not account.exists then
		return 'T'
	end
	local hi, lo = split(actual)
	local heldHi, heldLo = split(held)
	local dh, dl = carry(hi - heldHi, lo - heldLo)
	if dh < 0 then
		credit(account, -dh, -dl)
	elseif (dh > 0 or dl > 0) and not debitIfAvailable(account, dh, dl) then
		return 'O'
	end
	account.sh, account.sl = account.sh - heldHi, account.sl - heldLo
	account.ch, account.cl = account.ch + hi, account.cl + lo
	account.dirty = true
	finish(endings, family, field, 'c', actual)
	values[#values + 1] = held
	return 'C'
end

local function release(account)
	local field, held, ended = openHold()
	if not held then
		return ended
	end
	if not account.exists then
		return 'T'
	end
	local hi, lo = split(held)
	credit(account, hi, lo)
	account.sh, account.sl = account.sh - hi, account.sl - lo
	account.dirty = true
	finish(endings, family, field, 'l', held)
	values[#values + 1] = held
	return 'L'
end

local function ensure(account)
	local hi, lo = split(argument())
	if account.exists then
		return 'e'
	end
	if MEMORY_SHORT then
		return 'M'
	end
	account.exists, account.dirty = true, true
	account.gh, account.gl, account.rh, account.rl = hi, lo, hi, lo
	return 'E'
end

local function grant(account)
	local hi, lo = split(argument())
	if not account.exists then
		return 'T'
	end
	if MEMORY_SHORT then
		return 'M'
	end
	local gh, gl = carry(account.gh + hi, account.gl + lo)
	if gh > MAX_HI or (gh == MAX_HI and gl > MAX_LO) then
		return 'V'
	end
	account.gh, account.gl, account.dirty = gh, gl, true
	credit(account, hi, lo)
	return 'G'
end

local function withdraw(account)
	local hi, lo = split(argument())
	if not account.exists then
		return 'T'
	end
	if not debitIfAvailable(account, hi, lo) then
		return 'I'
	end
	account.gh, account.gl = carry(account.gh - hi, account.gl - lo)
	account.dirty = true
	return 'W'
end

local function balance(account)
	if not account.exists then
		return 'T'
	end
	values[#values + 1] = join(carry(account.gh, account.gl))
	values[#values + 1] = join(carry(account.sh, account.sl))
	values[#values + 1] = join(carry(account.ch, account.cl))
	return 'B'
end

for i = 1, #kinds do
	local kind, account = byte(kinds, i), accounts[byte(accountOf, i) - 47]
	local code
	if kind == 114 then
		code = reserve(account)
	elseif kind == 99 then
		code = commit(account)
	elseif kind == 108 then
		code = release(account)
	elseif kind == 100 then
		code = reserve(account, true)
	elseif kind == 113 then
		code = account.exists and 'Q' or 'T'
	elseif kind == 98 then
		code = balance(account)
	elseif kind == 101 then
		code = ensure(account)
	elseif kind == 103 then
		code = grant(account)
	elseif kind == 119 then
		code = withdraw(account)
	else
		malformed('kind', kind)
	end
	codes[i] = code
end

local reply = 'APPLIED ' .. table.concat(codes)
if accountCount > 0 then
	reply = reply .. ' ' .. table.concat(before, ' ')
end
if #values > 0 then
	reply = reply .. ' ' .. table.concat(values, ' ')
end

renewSessions(family, endings, add, 's' .. node)
if match(read[2], '^%d+ 0 ') then -- the session's first batch
	add[#add + 1], add[#add + 2] = format('%.0f', family.now + SESSION_RETENTION), 's' .. node
end
forget(books, family, endings)
writeEndings(family, endings, set)
for i = 1, #accounts do
	if accounts[i].dirty then
		set[#set + 1], set[#set + 2] = accounts[i].field, accountText(accounts[i])
	end
end
if #add > 0 then
	redis.call('ZADD', timers, unpack(add))
end
redis.call('HSET', books, 'f', familyText(family),
	's' .. node, number .. ' ' .. digest .. format(' %.0f', family.now), 'r' .. node, reply, unpack(set))
cleanUp(books, timers, endings)
return reply
