-- family: which families these scripts work on, and their accounts as tables.
--
-- Invariant: as in books.lua.

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
	local g, r, s, c, rh, rl, sh, sl, ch, cl = terms(text)
	if not g then
		return nil
	end
	account.g, account.s, account.c, account.before = g, s, c, r
	account.rh, account.rl, account.sh, account.sl, account.ch, account.cl = rh, rl, sh, sl, ch, cl
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
	hi, lo = account.rh + hi, account.rl + lo
	if lo < 0 or lo >= 1000000000 then
		hi, lo = carry(hi, lo)
	end
	account.rh, account.rl, account.dirty = hi, lo, true
end

-- debitIfAvailable takes an amount from remaining where remaining covers it, as
-- the function of that name does in the local engine. There a compare-and-swap
-- makes the test and the debit one step; here the script is one step.
local function debitIfAvailable(account, hi, lo)
	hi, lo = less(account.rh, account.rl, hi, lo)
	if not hi then
		return false
	end
	account.rh, account.rl, account.dirty = hi, lo, true
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
