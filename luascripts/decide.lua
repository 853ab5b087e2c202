-- decide: decides the operations of a batch, in memory.
-- uses: the locals of batch.lua and holds.lua; prior.lua, levels.lua, accounts.lua, and
-- merge.lua in a repair
--
-- Invariant: remaining + reserved + committed = granted after each operation, for its
-- account; money is debited only if remaining covers it. debitIfAvailable of the local
-- engine makes the test and the debit one compare-and-swap; here the script is one step.
-- An id under another tenant's name, or of an account that was deleted and created
-- again, reaches nothing.

-- Most new holds have one deadline, ends: its text is made once, and so is, by account,
-- the part of their records after the amount (owned).
local ends, endsText, owned = ttl > 0 and now + ttl or 0, nil, { nil }
local kindOf, placeOf = { byte(kinds, 1, operations) }, accounts > 1 and { byte(accountOf, 1, operations) }
local neverApplied, priorOf, other, paid
local late -- settles into ended epochs, or outside of a rolling window

for operation = 1, operations do
	local kind, i, code = kindOf[operation], 1, nil
	if placeOf then
		i = placeOf[operation]
	end
	local a, general, field, value, state, heldHi, heldLo, number, since = account[i], parents and parents[i] > 0 or configured and configured[i]
	if kind ~= $RESERVE and (kind == $COMMIT or kind == $RELEASE or kind == $LOOKUP or kind == $COMMIT_AVAILABLE or $MERGES and kind == $MERGE) then
		named = named + 1
		field = ARGV[9 + accounts + named]
		value = became[field] or stored[3 + accounts + named]
		if value and #value >= $HOLD_BYTES then
			state, heldHi, heldLo, number, since = read($HOLD_HEAD, value)
			general = general or number >= $SEVERAL -- its limits may have been removed
		end
		if state ~= $IS_OPEN and not priorOf then
			-- Here stands prior.lua.
			$PRIOR
		end
	end
	if not general and (kind == $RESERVE or kind == $RESERVE_TTL) then
		local at, next = ends, position + 25
		if kind == $RESERVE_TTL then
			at, next = read('>I6', arguments, next)
			at = at > 0 and now + at or 0
		end
		if blocked[i] then
			code = blocked[i]
		elseif not a then
			code = $CODE_NO_TENANT
		elseif $LOW_MEMORY then
			code = $CODE_MEMORY
		elseif maxHolds > 0 and a[$HOLDS] >= maxHolds then
			code = $CODE_HOLDS_FULL
		else
			local hi, lo = read('>I4I4', arguments, position)
			local h, l = a[$REMAINING_HI] - hi, a[$REMAINING_LO] - lo
			if l < 0 then
				h, l = h - 1, l + 4294967296
			end
			if h < 0 then
				code = $CODE_INSUFFICIENT
			else
				a[$REMAINING_HI], a[$REMAINING_LO] = h, l
				h, l = a[$RESERVED_HI] + hi, a[$RESERVED_LO] + lo
				if l >= 4294967296 then
					h, l = h + 1, l - 4294967296
				end
				local holds, generation = a[$HOLDS], $YOUNG
				if holds == 0 then
					a[$DEADLINE], a[$YOUNG], a[$OLDER], a[$TURN] = 0, 0, 0, sequence
				end
				a[$RESERVED_HI], a[$RESERVED_LO], a[$HOLDS], dirty[i] = h, l, holds + 1, true
				if a[$TURN] == sequence then
					a[$OLDER], generation = a[$OLDER] + 1, $DEADLINE
				end
				local rest, text = at == ends and owned[i], at == ends and endsText
				if not rest then
					rest = pack('>I6I6I6I6', a[$SERIAL], sequence, now, at) .. $OWN_LEVEL .. sub(fields[i], 2)
					text = text or format('%d', at)
					if at == ends then
						owned[i], endsText = rest, text
					end
				end
				field = sub(arguments, position + 8, position + 24)
				set[size + 1], set[size + 2] = field, $OPEN .. sub(arguments, position, position + 7) .. rest
				size = size + 2
				if at > 0 then
					timed[timedSize + 1], timed[timedSize + 2] = text, field
					timedSize = timedSize + 2
					local first = a[generation]
					if first == 0 or at < first then
						a[generation] = at
					end
					if due == 0 or at < due then
						due = at
					end
				end
				code = $CODE_RESERVED
			end
		end
		position = next
	elseif not general and (kind == $COMMIT or kind == $RELEASE) then
		if state ~= $IS_OPEN then
			code = priorOf(i, field, value)
		else
			local h, l = 0, 0
			if a then
				h, l = a[$RESERVED_HI] - heldHi, a[$RESERVED_LO] - heldLo
				if l < 0 then
					h, l = h - 1, l + 4294967296
				end
			end
			if a and number ~= a[$SERIAL] or not a and sub(value, $HOLD_BYTES + 1) ~= sub(fields[i], 2) then
				code = $CODE_NO_HOLD
			elseif blocked[i] then
				code = blocked[i]
			elseif not a then
				code = $CODE_NO_TENANT
			elseif h < 0 or a[$HOLDS] == 0 then
				damaged, code = damaged or field, $CODE_CORRUPT
			else
				local ending, actual, hi, lo = $RELEASED, '\0\0\0\0\0\0\0\0', 0, 0
				if kind == $COMMIT then
					ending, actual = $COMMITTED, sub(arguments, position, position + 7)
					hi, lo = read('>I4I4', actual)
				end
				local restHi, restLo = a[$REMAINING_HI] + heldHi - hi, a[$REMAINING_LO] + heldLo - lo
				if restLo < 0 then
					restHi, restLo = restHi - 1, restLo + 4294967296
				elseif restLo >= 4294967296 then
					restHi, restLo = restHi + 1, restLo - 4294967296
				end
				local costHi, costLo = a[$COMMITTED_HI] + hi, a[$COMMITTED_LO] + lo
				if costLo >= 4294967296 then
					costHi, costLo = costHi + 1, costLo - 4294967296
				end
				if restHi < 0 and (hi > heldHi or hi == heldHi and lo > heldLo) then
					code = $CODE_OVERRUN
				elseif costHi > 2147483647 then
					code = $CODE_OVERFLOW
				else
					a[$REMAINING_HI], a[$REMAINING_LO] = restHi, restLo
					a[$RESERVED_HI], a[$RESERVED_LO] = h, l
					a[$COMMITTED_HI], a[$COMMITTED_LO] = costHi, costLo
					a[$HOLDS], dirty[i] = a[$HOLDS] - 1, true
					if since <= a[$TURN] then
						a[$OLDER] = a[$OLDER] - 1
						if a[$OLDER] <= 0 then
							a[$DEADLINE], a[$YOUNG], a[$OLDER], a[$TURN] = a[$YOUNG], 0, a[$HOLDS], sequence
						end
					end
					valueCount = valueCount + 1
					values[valueCount] = sub(value, 2, 9)
					value = ending .. sub(value, 2, 27) .. nowBytes .. sequenceBytes .. actual .. sub(value, 34)
					set[size + 1], set[size + 2] = field, value
					size = size + 2
					became[field] = value
					settledSize = settledSize + 1
					settled[settledSize] = field
					code = kind == $COMMIT and $CODE_COMMITTED or $CODE_RELEASED
				end
			end
		end
		if kind == $COMMIT then
			position = position + 8
		end
	elseif kind == $COMMIT_AVAILABLE or general and (kind == $RESERVE or kind == $RESERVE_TTL or kind == $COMMIT or kind == $RELEASE or kind == $REMAINING) then
		-- Here stands levels.lua.
		$ON_LEVELS
	else
		if not other then
			-- Here stand accounts.lua and, in a repair, merge.lua.
			$OTHER_OPERATIONS
		end
		code = other(kind, i, field, value)
	end
	codes[operation] = code
end
