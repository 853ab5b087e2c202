-- levels: reserves, settles and Remaining of a tenant that has ancestors, settings or
-- limits. The file stands in the loop of decide.lua, so that no batch builds a function over
-- all these locals.
-- uses: the locals of decide.lua's loop
--
-- A tenant's accounts are, in this order, its own, those of its limits, and so on for each of
-- its levels up to the root. A set of levels has bit 0 for the tenant, bit 1 for its parent,
-- and so on; a set of accounts has bit n for the nth one after the tenant's own.
--
-- Invariant: a reserve debits every account that exists, or none, and its hold keeps the set
-- of the levels and the largest serial of the accounts. A settle moves exactly the accounts
-- of these levels that still are the same ones: serials grow, so one that was created after
-- the hold has a larger serial, also a limit that was removed and set again. Every check is
-- made at all accounts, from the tenant up, before the next check, and all of them before the
-- first change. In each account a settle moves the epoch to which its hold belongs
-- (windows.lua). Flags and caps stop only reserves; a limit has none. A settle leaves at least
-- -overdraft to each account from which it takes more than it returns.
local place, bit, link, part, newest, short, made = i, 1, 1, 0, 0, false, nil
local above = parents and parents[i] > 0
if kind == $REMAINING then
	while place > 0 do
		code = code or blocked[place]
		place = parents and parents[place] or 0
	end
	code = code or a and $CODE_REMAINING or $CODE_NO_TENANT
elseif kind == $RESERVE or kind == $RESERVE_TTL then
	local hi, lo = read('>I4I4', arguments, position)
	local amount = sub(arguments, position, position + 7)
	field = sub(arguments, position + 8, position + 24)
	local at = ends
	position = position + 25
	if kind == $RESERVE_TTL then
		at, position = read('>I6', arguments, position)
		at = at > 0 and now + at or 0
	end
	local closed, frozen, capped
	local several = false
	while place > 0 do
		local level = account[place]
		code = code or blocked[place]
		if level then
			local h, flags = level[$REMAINING_HI], level[$FLAGS]
			short = short or h < hi or h == hi and level[$REMAINING_LO] < lo
			newest, several = math.max(newest, level[$SERIAL]), several or place ~= i
			if not (periodOf and periodOf[place]) then
				part = part + bit
			end
			if flags ~= 0 then
				frozen = frozen or flags % 2 == 1 and bit
				closed = closed or flags % 4 >= 2 and bit
				local s, w = not capped and level[$SETTINGS], level[$WINDOW]
				if s and (w and w[$ENDED_HI] + w[$ENDED_LO] > 0
					or s[$CAP_HOLD_HI] + s[$CAP_HOLD_LO] + s[$CAP_RESERVED_HI] + s[$CAP_RESERVED_LO] + s[$CAP_HOLDS] > 0) then
					local reservedHi, reservedLo = plus(level[$RESERVED_HI], level[$RESERVED_LO], hi, lo)
					if w then
						reservedHi, reservedLo = plus(reservedHi, reservedLo, w[$ENDED_HI], w[$ENDED_LO])
						short = short or reservedHi > 2147483647 -- the sum must fit 64 bits
					end
					if (s[$CAP_HOLD_HI] > 0 or s[$CAP_HOLD_LO] > 0) and minus(s[$CAP_HOLD_HI], s[$CAP_HOLD_LO], hi, lo) < 0 then
						capped = string.char(bit) .. $BY_CAP_HOLD .. pack('>I4I4', s[$CAP_HOLD_HI], s[$CAP_HOLD_LO])
					elseif (s[$CAP_RESERVED_HI] > 0 or s[$CAP_RESERVED_LO] > 0) and minus(s[$CAP_RESERVED_HI], s[$CAP_RESERVED_LO], reservedHi, reservedLo) < 0 then
						capped = string.char(bit) .. $BY_CAP_RESERVED .. pack('>I4I4', s[$CAP_RESERVED_HI], s[$CAP_RESERVED_LO])
					elseif s[$CAP_HOLDS] > 0 and level[$HOLDS] >= s[$CAP_HOLDS] then
						capped = string.char(bit) .. $BY_CAP_HOLDS .. pack('>I8', s[$CAP_HOLDS])
					end
				end
			end
		end
		place = parents and parents[place] or 0
		if not (periodOf and periodOf[place]) then
			bit = 2 * bit
		end
	end
	if code or not a then
		code = code or $CODE_NO_TENANT
	elseif closed or frozen then
		code = closed and $CODE_CLOSED or $CODE_FROZEN
		valueCount = valueCount + 1
		values[valueCount] = string.char(closed or frozen)
	elseif $LOW_MEMORY then
		code = $CODE_MEMORY
	elseif maxHolds > 0 and a[$HOLDS] >= maxHolds then
		code = $CODE_HOLDS_FULL
	elseif capped then
		code = $CODE_CAPPED
		valueCount = valueCount + 1
		values[valueCount] = capped
	elseif short then
		code = $CODE_INSUFFICIENT
	else
		place = i
		while place > 0 do
			local level = account[place]
			if level then
				level[$REMAINING_HI], level[$REMAINING_LO] = minus(level[$REMAINING_HI], level[$REMAINING_LO], hi, lo)
				level[$RESERVED_HI], level[$RESERVED_LO] = plus(level[$RESERVED_HI], level[$RESERVED_LO], hi, lo)
				if level[$HOLDS] == 0 then
					level[$DEADLINE], level[$YOUNG], level[$OLDER], level[$TURN] = 0, 0, 0, sequence
				end
				level[$HOLDS], dirty[place] = level[$HOLDS] + 1, true
				local generation = $YOUNG
				if level[$TURN] == sequence then
					level[$OLDER], generation = level[$OLDER] + 1, $DEADLINE
				end
				if at > 0 and (level[generation] == 0 or at < level[generation]) then
					level[generation] = at
				end
			end
			place = parents and parents[place] or 0
		end
		if several then
			newest = newest + $SEVERAL
		end
		set[size + 1], set[size + 2] = field, $OPEN .. amount .. pack('>I6I6I6I6', newest, sequence, now, at) .. string.char(part) .. sub(fields[i], 2)
		size = size + 2
		if at > 0 then
			schedule(at, field)
		end
		code = $CODE_RESERVED
	end
else
	local ending, actual, hi, lo = $RELEASED, '\0\0\0\0\0\0\0\0', 0, 0
	if kind ~= $RELEASE then
		ending, actual = $COMMITTED, sub(arguments, position, position + 7)
		hi, lo = read('>I4I4', actual)
		position = position + 8
	end
	newest = (number or 0) % $SEVERAL
	if state ~= $IS_OPEN then
		code = priorOf(i, field, value)
	elseif sub(value, $HOLD_BYTES + 1) ~= sub(fields[i], 2) or a and a[$SERIAL] > newest then
		code = $CODE_NO_HOLD
	else
		local levels, wrong = byte(value, $HOLD_BYTES), false
		made = windowed and read('>I6', value, 22)
		local leastHi, leastLo, least -- the least amount that a level can pay
		local mostHi, mostLo = 0, 0 -- the largest committed amount of a level
		while place > 0 do
			local level = account[place]
			if levels % (2 * bit) >= bit then
				code = code or blocked[place]
				if level and level[$SERIAL] <= newest then
					part = part + link
					local w, epoch, h, l = level[$WINDOW], level, nil, nil
					if w and made < w[$START] then
						epoch = epochOf(place, made)
					end
					local outside = w and w[$RING] and epoch == level and not partOf(place, made)
					wrong = wrong or not epoch or level[$HOLDS] == 0 or epoch[$RESERVED_HI] < heldHi or epoch[$RESERVED_HI] == heldHi and epoch[$RESERVED_LO] < heldLo
					epoch = epoch or level
					h, l = epoch[$COMMITTED_HI], epoch[$COMMITTED_LO]
					if not outside and (h > mostHi or h == mostHi and l > mostLo) then
						mostHi, mostLo = h, l
					end
					local s
					h, l, s = level[$REMAINING_HI], level[$REMAINING_LO], level[$SETTINGS]
					if epoch ~= level then
						h, l = coverOf(place, epoch)
					elseif s and s[$OVERDRAFT_HI] + s[$OVERDRAFT_LO] > 0 then
						h, l = plus(h, l, s[$OVERDRAFT_HI], s[$OVERDRAFT_LO])
					end
					if not outside and (not least or h < leastHi or h == leastHi and l < leastLo) then
						leastHi, leastLo, least = h, l, link
					end
				end
			end
			place, link = parents and parents[place] or 0, 2 * link
			if not (periodOf and periodOf[place]) then
				bit = 2 * bit
			end
		end
		local backHi, backLo = minus(heldHi, heldLo, hi, lo) -- negative for an excess
		if backHi < 0 and least then
			short = plus(leastHi, leastLo, backHi, backLo) < 0
			if short and kind == $COMMIT_AVAILABLE then
				if leastHi < 0 then
					leastHi, leastLo = 0, 0
				end
				hi, lo = plus(heldHi, heldLo, leastHi, leastLo)
				actual, short = pack('>I4I4', hi, lo), false
				backHi, backLo = minus(heldHi, heldLo, hi, lo)
			end
		end
		if code or not a then
			code = code or $CODE_NO_TENANT
		elseif wrong then
			damaged, code = damaged or field, $CODE_CORRUPT
		elseif short then
			code = $CODE_OVERRUN
			if above then
				valueCount = valueCount + 1
				values[valueCount] = pack(periodOf and '>I6' or '>B', least)
			end
		elseif plus(mostHi, mostLo, hi, lo) > 2147483647 then
			code = $CODE_OVERFLOW
		else
			place, link = i, 1
			while place > 0 do
				if part % (2 * link) >= link then
					local level = account[place]
					local w, costHi, costLo, backHi, backLo = level[$WINDOW], hi, lo, backHi, backLo
					local epoch, outside = w and made < w[$START] and epochOf(place, made) or level, false
					if w and w[$RING] and epoch == level then
						local at = partOf(place, made)
						outside = not at
						if at then
							addToPart(place, at, hi, lo)
						else
							costHi, costLo, backHi, backLo = 0, 0, heldHi, heldLo
						end
					end
					epoch[$REMAINING_HI], epoch[$REMAINING_LO] = plus(epoch[$REMAINING_HI], epoch[$REMAINING_LO], backHi, backLo)
					epoch[$RESERVED_HI], epoch[$RESERVED_LO] = minus(epoch[$RESERVED_HI], epoch[$RESERVED_LO], heldHi, heldLo)
					epoch[$COMMITTED_HI], epoch[$COMMITTED_LO] = plus(epoch[$COMMITTED_HI], epoch[$COMMITTED_LO], costHi, costLo)
					level[$HOLDS], dirty[place] = level[$HOLDS] - 1, true
					if epoch ~= level then
						passOn(place, epoch, backHi, backLo, minus(0, 0, heldHi, heldLo))
					end
					if epoch ~= level or outside then
						late = late or {}
						late[#late + 1] = pack('>I2Bi4I4', operation - 1, place, level[$REMAINING_HI], level[$REMAINING_LO])
					end
					if level[$SETTINGS] then
						cross(place)
					end
					if since <= level[$TURN] then
						level[$OLDER] = level[$OLDER] - 1
						if level[$OLDER] <= 0 then
							level[$DEADLINE], level[$YOUNG], level[$OLDER], level[$TURN] = level[$YOUNG], 0, level[$HOLDS], sequence
						end
					end
				end
				place, link = parents and parents[place] or 0, 2 * link
			end
			valueCount = valueCount + 1
			values[valueCount] = sub(value, 2, 9) .. (above and pack(periodOf and '>I6' or '>B', part) or '')
			if kind == $COMMIT_AVAILABLE then
				values[valueCount], paid = values[valueCount] .. actual, (paid or '') .. actual
			end
			value = ending .. sub(value, 2, 27) .. nowBytes .. sequenceBytes .. actual .. sub(value, $HOLD_BYTES)
			set[size + 1], set[size + 2] = field, value
			size = size + 2
			became[field] = value
			settledSize = settledSize + 1
			settled[settledSize] = field
			code = kind == $RELEASE and $CODE_RELEASED or $CODE_COMMITTED
		end
	end
end
