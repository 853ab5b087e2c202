-- levels: reserves, settles and Remaining of a tenant that has ancestors. The file stands
-- in the loop of decide.lua, so that no batch builds a function over all these locals.
-- uses: the locals of decide.lua's loop
--
-- Invariant: a reserve debits every level that exists, or none, and its hold keeps the set
-- of those (bit 0 the tenant, bit 1 its parent, and so on) and their largest serial. A
-- settle moves exactly the levels of the set that still are the same accounts: serials
-- grow, so one that was created after the hold has a larger serial. Every check is made at
-- all levels, from the tenant up, before the next check, and all of them before the first
-- change.
local place, bit, part, newest, short = i, 1, 0, 0, false
if kind == $REMAINING then
	while place > 0 do
		code = code or blocked[place]
		place = parents[place]
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
	while place > 0 do
		local level = account[place]
		code = code or blocked[place]
		if level then
			local h = level[$REMAINING_HI]
			short = short or h < hi or h == hi and level[$REMAINING_LO] < lo
			part, newest = part + bit, math.max(newest, level[$SERIAL])
		end
		place, bit = parents[place], 2 * bit
	end
	if code or not a then
		code = code or $CODE_NO_TENANT
	elseif $LOW_MEMORY then
		code = $CODE_MEMORY
	elseif maxHolds > 0 and a[$HOLDS] >= maxHolds then
		code = $CODE_HOLDS_FULL
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
			place = parents[place]
		end
		if part > 1 then
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
	if kind == $COMMIT then
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
		local backHi, backLo = minus(heldHi, heldLo, hi, lo) -- negative for an excess
		local levels, wrong, full = byte(value, $HOLD_BYTES), false, false
		while place > 0 do
			local level = account[place]
			if levels % (2 * bit) >= bit then
				code = code or blocked[place]
				if level and level[$SERIAL] <= newest then
					part = part + bit
					wrong = wrong or level[$HOLDS] == 0 or minus(level[$RESERVED_HI], level[$RESERVED_LO], heldHi, heldLo) < 0
					short = short or plus(level[$REMAINING_HI], level[$REMAINING_LO], backHi, backLo) < 0
					full = full or plus(level[$COMMITTED_HI], level[$COMMITTED_LO], hi, lo) > 2147483647
				end
			end
			place, bit = parents[place], 2 * bit
		end
		if code or not a then
			code = code or $CODE_NO_TENANT
		elseif wrong then
			damaged, code = damaged or field, $CODE_CORRUPT
		elseif short and backHi < 0 then
			code = $CODE_OVERRUN
			valueCount = valueCount + 1
			values[valueCount] = string.char(part)
		elseif full then
			code = $CODE_OVERFLOW
		else
			place, bit = i, 1
			while place > 0 do
				if part % (2 * bit) >= bit then
					local level = account[place]
					level[$REMAINING_HI], level[$REMAINING_LO] = plus(level[$REMAINING_HI], level[$REMAINING_LO], backHi, backLo)
					level[$RESERVED_HI], level[$RESERVED_LO] = minus(level[$RESERVED_HI], level[$RESERVED_LO], heldHi, heldLo)
					level[$COMMITTED_HI], level[$COMMITTED_LO] = plus(level[$COMMITTED_HI], level[$COMMITTED_LO], hi, lo)
					level[$HOLDS], dirty[place] = level[$HOLDS] - 1, true
					if since <= level[$TURN] then
						level[$OLDER] = level[$OLDER] - 1
						if level[$OLDER] <= 0 then
							level[$DEADLINE], level[$YOUNG], level[$OLDER], level[$TURN] = level[$YOUNG], 0, level[$HOLDS], sequence
						end
					end
				end
				place, bit = parents[place], 2 * bit
			end
			valueCount = valueCount + 1
			values[valueCount] = sub(value, 2, 9) .. string.char(part)
			value = ending .. sub(value, 2, 27) .. nowBytes .. sequenceBytes .. actual .. sub(value, $HOLD_BYTES)
			set[size + 1], set[size + 2] = field, value
			size = size + 2
			became[field] = value
			settledSize = settledSize + 1
			settled[settledSize] = field
			code = kind == $COMMIT and $CODE_COMMITTED or $CODE_RELEASED
		end
	end
end
