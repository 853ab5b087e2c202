-- family: what every script reads first, and the accounts.
--
-- A family's field f is "version incarnation time head tail count": its layout,
-- 16 hexadecimal digits drawn when it was created, the latest time in
-- milliseconds that it has seen, and the ring of tombstone records (fields
-- d<tail> to d<head-1>, naming count tombstones).
-- An account's field a<level> is "granted remaining reserved committed".
--
-- Invariant: an account is used only where it is whole and
-- remaining + reserved + committed = granted; a script that finds anything else
-- answers CORRUPT and has written nothing.
local LAYOUT = '1'

-- readFamily returns the family, or nil and the refusal.
local function readFamily(text, incarnation)
	if not text then
		return nil, 'NOFAMILY'
	end
	local version, born, time, head, tail, count = match(text, '^(%d+) (%x+) (%d+) (%d+) (%d+) (%d+)$')
	if version ~= LAYOUT then
		return nil, 'LAYOUT ' .. (match(text, '^(%d+) ') or '?')
	end
	if incarnation and born ~= incarnation then
		return nil, 'INCARNATION ' .. born
	end
	return {
		born = born,
		now = tonumber(time),
		head = tonumber(head),
		tail = tonumber(tail),
		count = tonumber(count),
	}
end

local function familyText(family)
	return format('%s %s %.0f %.0f %.0f %.0f', LAYOUT, family.born, family.now, family.head, family.tail, family.count)
end

-- tick moves the family's time: to the server's, or to the caller's clock in
-- tests, and never backwards. A node's own clock has no say.
local function tick(family, clock)
	local now
	if clock == '' then
		local time = redis.call('TIME')
		now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
	else
		now = tonumber(clock)
	end
	if now > family.now then
		family.now = now
	end
end

-- readAccount returns the account (exists = false where there is none), or nil
-- where the stored text breaks the invariant.
local function readAccount(field, text)
	local account = { field = field, exists = false, gh = 0, gl = 0, rh = 0, rl = 0, sh = 0, sl = 0, ch = 0, cl = 0 }
	if not text then
		return account
	end
	local granted, remaining, reserved, committed = match(text, '^(%d+) (%-?%d+) (%d+) (%d+)$')
	if not granted or #granted > 19 or #remaining > 20 or #reserved > 19 or #committed > 19 then
		return nil
	end
	account.exists = true
	account.gh, account.gl = split(granted)
	account.rh, account.rl = splitSigned(remaining)
	account.sh, account.sl = split(reserved)
	account.ch, account.cl = split(committed)
	local hi, lo = carry(account.rh + account.sh + account.ch, account.rl + account.sl + account.cl)
	if hi ~= account.gh or lo ~= account.gl then
		return nil
	end
	return account
end

local function accountText(account)
	local remaining = join(account.rh, account.rl)
	return join(carry(account.gh, account.gl)) .. ' ' .. remaining .. ' '
		.. join(carry(account.sh, account.sl)) .. ' ' .. join(carry(account.ch, account.cl))
end

-- credit returns an amount to remaining. It cannot overflow: by the law the
-- result is at most granted.
local function credit(account, hi, lo)
	account.rh, account.rl = carry(account.rh + hi, account.rl + lo)
end

-- debitIfAvailable takes an amount from remaining where remaining covers it, as
-- the function of that name does in the local engine. There a compare-and-swap
-- makes the test and the debit one step; here the script is one step.
local function debitIfAvailable(account, hi, lo)
	local h, l = account.rh - hi, account.rl - lo
	if l < 0 then
		h, l = h - 1, l + BASE
	end
	if h < 0 then
		return false
	end
	account.rh, account.rl = h, l
	return true
end
