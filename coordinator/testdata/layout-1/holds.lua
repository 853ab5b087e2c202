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

-- holds: reads one account and its open holds at one instant.
--
-- KEYS  1 books (hash)
-- ARGV  1 the family's field f   2 level ('' for the root)
-- Reply a list: FOUND, the account's text, then field and value of each open hold;
-- or    a list of one: NOTENANT, NOFAMILY, LAYOUT version, INCARNATION its own
--
-- Invariant: it writes nothing. It is not declared so, since a replica would
-- then run it, and a replica may lag.
local level = ARGV[2]
local all = redis.call('HGETALL', KEYS[1])
local family, account, found = false, false, { 'FOUND', '' }
for i = 1, #all, 2 do
	local field, value = all[i], all[i + 1]
	local kind = field:byte()
	if field == 'f' then
		family = value
	elseif kind == 97 and field:sub(2) == level and value ~= '-' then
		account = value
	elseif kind == 104 and value:byte() == 111 and field:sub(34) == level then
		found[#found + 1] = field
		found[#found + 1] = value
	end
end
if family ~= ARGV[1] then
	return { refuseFamily(family) }
end
if not account then
	return { 'NOTENANT' }
end
found[2] = account
return found
