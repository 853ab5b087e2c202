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

-- readAccount fills an account from its stored text (without g where there is none;
-- the text - is one that was deleted) and returns it, or nil where the text breaks the
-- invariant. The texts g, s and c stand for granted, reserved and committed until those
-- change, and then they are nil. The families of a call use the same tables in turns.
local function readAccount(account, field, text)
	account.field, account.dirty = field, false
	if not text or text == '-' then
		account.g, account.s, account.c, account.before = nil, nil, nil, '-'
		account.rh, account.rl, account.sh, account.sl, account.ch, account.cl = 0, 0, 0, 0, 0, 0
		return account
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
	account.g, account.s, account.c, account.before = g, s, c, r
	account.gh, account.gl, account.rh, account.rl = gh, gl, rh, rl
	account.sh, account.sl, account.ch, account.cl = sh, sl, ch, cl
	return account
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
