-- windows: the epochs of accounts whose budgets renew. The file stands in expiry.lua, for
-- batches with accounts that have a window, and for changes of settings.
-- uses: the locals of batch.lua
--
-- An account's record has the terms of its current epoch: granted, remaining, reserved and
-- committed. A roll stores those of the one that ends in a record of their own. A hold
-- belongs to the epoch with the latest start at or before the time when it was made; if
-- there is none, to the oldest that is kept.
--
-- A rolling window has no epochs, but a ring: the committed amounts of its parts, the oldest
-- first, of which the last one begins at the time that is its mark.
--
-- Invariant: the law holds in each epoch; an ended one has nothing below zero, and committed
-- of a rolling window is the sum of its ring. Money moves between an ended epoch and the current
-- one in one step, out of the one and into the other: an ended epoch has moved the least of the
-- carry-over and of its remaining amount with the amount that it has moved, so that debt moves
-- as a whole. Reserved of an ended epoch is the sum of the holds that were made in it, and an
-- account's record has the sum over its ended epochs. An epoch with a hold is kept. The reserved
-- amounts of all epochs fit 64 bits together. Stored boundaries are never changed, and a roll
-- passes all of those up to now, once.

epochs = epochs or {}

local function less(aHi, aLo, bHi, bLo)
	return aHi < bHi or aHi == bHi and aLo < bLo
end

local function least(aHi, aLo, bHi, bLo)
	if less(bHi, bLo, aHi, aLo) then
		return bHi, bLo
	end
	return aHi, aLo
end

local function fieldOf(i, start)
	return 'p' .. pack('>I6', start) .. sub(fields[i], 2)
end

-- load returns the ended epoch of an account with that start, or nil if it is damaged.
local function load(i, start)
	local name = fieldOf(i, start)
	local e = epochs[name]
	if not e then
		local record = call('HGET', ledger, name)
		if not record or #record ~= $EPOCH_BYTES then
			return nil
		end
		e = { read($EPOCH_FORM, record) }
		local lo = e[$REMAINING_LO] + e[$RESERVED_LO] + e[$COMMITTED_LO]
		local low = lo % 4294967296
		if low ~= e[$GRANTED_LO] or e[$REMAINING_HI] + e[$RESERVED_HI] + e[$COMMITTED_HI] + (lo - low) / 4294967296 ~= e[$GRANTED_HI]
			or e[$GRANTED_HI] > 2147483647 then
			return nil
		end
		epochs[name] = e
	end
	return e
end

-- epochOf returns the terms to which a hold made at that time belongs: the account itself,
-- or an ended epoch; nil if that is damaged.
epochOf = function(i, made)
	local a = account[i]
	local w = a[$WINDOW]
	local kept = w and w[$KEPT]
	if not w or made >= w[$START] or #kept == 0 then
		return a
	end
	local n = 1
	while n < #kept and kept[n] > made do
		n = n + 1
	end
	return load(i, kept[n])
end

-- partOf returns the place in an account's ring of the part that contains a time, from 0 on, or
-- nil if that has left the window.
partOf = function(i, time)
	local w = account[i][$WINDOW]
	local length, last = ($PART_MS)[w[$PERIOD]], #w[$RING] / 8 - 1
	local place = last - (w[$MARK] - (time - time % length)) / length
	return place >= 0 and math.min(place, last) or nil
end

-- addToPart adds to a part of an account's ring.
addToPart = function(i, place, hi, lo)
	local w = account[i][$WINDOW]
	local from = 8 * place + 1
	hi, lo = plus(hi, lo, read('>I4I4', w[$RING], from))
	w[$RING], w[$TEXT] = sub(w[$RING], 1, from - 1) .. pack('>I4I4', hi, lo) .. sub(w[$RING], from + 8), nil
end

-- slide moves a rolling window to now: the committed amounts of parts that leave it return.
local function slide(i)
	local a = account[i]
	local w = a[$WINDOW]
	local length = ($PART_MS)[w[$PERIOD]]
	local newest = now - now % length
	local left = math.min((newest - w[$MARK]) / length, #w[$RING] / 8)
	if left <= 0 then
		return
	end
	local hi, lo = 0, 0
	for place = 0, left - 1 do
		hi, lo = plus(hi, lo, read('>I4I4', w[$RING], 8 * place + 1))
	end
	a[$COMMITTED_HI], a[$COMMITTED_LO] = minus(a[$COMMITTED_HI], a[$COMMITTED_LO], hi, lo)
	a[$REMAINING_HI], a[$REMAINING_LO] = plus(a[$REMAINING_HI], a[$REMAINING_LO], hi, lo)
	w[$RING] = sub(w[$RING], 8 * left + 1) .. string.rep('\0', 8 * left)
	w[$MARK], w[$TEXT], dirty[i] = newest, nil, true
end

-- renewsAt returns when an account's budget next grows by itself, 0 for never.
renewsAt = function(w)
	for from = 1, w[$RING] and #w[$RING] or 0, 8 do
		if sub(w[$RING], from, from + 7) ~= '\0\0\0\0\0\0\0\0' then
			return w[$MARK] + (from + 7) / 8 * ($PART_MS)[w[$PERIOD]]
		end
	end
	return w[$AHEAD][1] or 0
end

-- room returns what the granted amount of an account may still grow by.
local function room(a, hi, lo)
	local s = a[$SETTINGS]
	hi, lo = plus(hi, lo, s[$OVERDRAFT_HI], s[$OVERDRAFT_LO])
	return minus(2147483647, 4294967295, hi, lo)
end

-- coverOf returns the largest excess that a level pays for a hold of one of its ended epochs.
coverOf = function(i, e)
	local a = account[i]
	local s = a[$SETTINGS]
	local hi, lo = plus(a[$REMAINING_HI], a[$REMAINING_LO], s[$OVERDRAFT_HI], s[$OVERDRAFT_LO])
	if hi < 0 then
		hi, lo = 0, 0
	end
	hi, lo = least(hi, lo, plus(e[$MOVED_HI], e[$MOVED_LO], s[$OVERDRAFT_HI], s[$OVERDRAFT_LO]))
	hi, lo = least(hi, lo, minus(2147483647, 4294967295, e[$GRANTED_HI], e[$GRANTED_LO]))
	return plus(e[$REMAINING_HI], e[$REMAINING_LO], hi, lo)
end

-- passOn passes on what a change of an ended epoch's remaining calls for. The change is back,
-- and remaining has it already; reserved has changed by kept.
passOn = function(i, e, backHi, backLo, keptHi, keptLo)
	local a = account[i]
	local w = a[$WINDOW]
	w[$ENDED_HI], w[$ENDED_LO] = plus(w[$ENDED_HI], w[$ENDED_LO], keptHi, keptLo)
	local hi, lo = 0, 0 -- of an excess the ended epoch pays as much as it can
	if backHi >= 0 then
		hi, lo = plus(e[$REMAINING_HI], e[$REMAINING_LO], e[$MOVED_HI], e[$MOVED_LO])
		local wasHi, wasLo = least(w[$CARRY_HI], w[$CARRY_LO], minus(hi, lo, backHi, backLo))
		hi, lo = least(w[$CARRY_HI], w[$CARRY_LO], hi, lo)
		hi, lo = minus(hi, lo, wasHi, wasLo)
	end
	hi, lo = least(hi, lo, e[$REMAINING_HI], e[$REMAINING_LO])
	hi, lo = least(hi, lo, room(a, a[$GRANTED_HI], a[$GRANTED_LO]))
	e[$REMAINING_HI], e[$REMAINING_LO] = minus(e[$REMAINING_HI], e[$REMAINING_LO], hi, lo)
	e[$GRANTED_HI], e[$GRANTED_LO] = minus(e[$GRANTED_HI], e[$GRANTED_LO], hi, lo)
	e[$MOVED_HI], e[$MOVED_LO] = plus(e[$MOVED_HI], e[$MOVED_LO], hi, lo)
	a[$REMAINING_HI], a[$REMAINING_LO] = plus(a[$REMAINING_HI], a[$REMAINING_LO], hi, lo)
	a[$GRANTED_HI], a[$GRANTED_LO] = plus(a[$GRANTED_HI], a[$GRANTED_LO], hi, lo)
	e[$CHANGED], w[$TEXT], dirty[i] = true, nil, true
end

-- roll begins the epoch of now. omitted is the number of boundaries that have passed and are
-- not stored.
local function roll(i, omitted)
	local a = account[i]
	local w = a[$WINDOW]
	local ahead, passed = w[$AHEAD], 0
	while ahead[passed + 1] and ahead[passed + 1] <= now do
		passed = passed + 1
	end
	if passed == 0 then
		return
	end
	local rest = { unpack(ahead, passed + 1) }
	local skipped = passed + omitted - 1
	local rHi, rLo = a[$REMAINING_HI], a[$REMAINING_LO]
	local limitHi, limitLo = least(w[$CARRY_HI], w[$CARRY_LO], room(a, w[$AMOUNT_HI], w[$AMOUNT_LO]))
	local moved = { least(limitHi, limitLo, rHi, rLo) }
	local addLo = w[$AMOUNT_LO] * skipped
	local addLow = addLo % 4294967296
	local hi, lo = least(limitHi, limitLo, plus(rHi, rLo, w[$AMOUNT_HI] * skipped + (addLo - addLow) / 4294967296, addLow))
	hi, lo = plus(w[$AMOUNT_HI], w[$AMOUNT_LO], hi, lo)
	local e = { a[$GRANTED_HI], a[$GRANTED_LO], rHi, rLo, a[$RESERVED_HI], a[$RESERVED_LO], a[$COMMITTED_HI], a[$COMMITTED_LO], moved[1], moved[2], ahead[1] }
	e[$GRANTED_HI], e[$GRANTED_LO] = minus(e[$GRANTED_HI], e[$GRANTED_LO], moved[1], moved[2])
	e[$REMAINING_HI], e[$REMAINING_LO] = minus(rHi, rLo, moved[1], moved[2])
	e[$CHANGED] = true
	epochs[fieldOf(i, w[$START])] = e
	local kept = { w[$START] }
	for n = 1, #w[$KEPT] do
		local start = w[$KEPT][n]
		local old = n > 2 and load(i, start)
		if old and old[$RESERVED_HI] == 0 and old[$RESERVED_LO] == 0 then
			old[$DROPPED] = true
		else
			kept[#kept + 1] = start
		end
	end
	w[$ENDED_HI], w[$ENDED_LO] = plus(w[$ENDED_HI], w[$ENDED_LO], a[$RESERVED_HI], a[$RESERVED_LO])
	a[$GRANTED_HI], a[$GRANTED_LO], a[$REMAINING_HI], a[$REMAINING_LO] = hi, lo, hi, lo
	a[$RESERVED_HI], a[$RESERVED_LO], a[$COMMITTED_HI], a[$COMMITTED_LO] = 0, 0, 0, 0
	w[$START], w[$AHEAD], w[$KEPT], w[$TEXT], dirty[i] = ahead[passed], rest, kept, nil, true
end

-- enter makes an account ready for an operation: it begins the epoch of now, or blocks the
-- account if its next boundary is not known.
enter = function(i, omitted)
	local w = account[i][$WINDOW]
	if w[$RING] then
		return slide(i)
	end
	local ahead = w[$AHEAD]
	local last = ahead[#ahead]
	if not omitted and last and ahead[1] > now then
		return
	elseif omitted or last and last > now then
		roll(i, omitted or 0)
		last = w[$AHEAD][1]
	else
		last = nil
	end
	if w[$PERIOD] > 0 and not last then
		blocked[i] = $CODE_WINDOW
	end
end

-- windowText returns the window of an account as it is stored.
windowText = function(w)
	if not w[$TEXT] then
		local times = {}
		for _, list in ipairs({ w[$AHEAD], w[$KEPT] }) do
			for n = 1, #list do
				times[#times + 1] = pack('>I6', list[n])
			end
		end
		w[$TEXT] = pack($WINDOW_FORM, w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], #w[$ZONE], #w[$AHEAD], #w[$KEPT])
			.. w[$ZONE] .. table.concat(times) .. (w[$RING] or '')
	end
	return w[$TEXT]
end
