-- decide: decides the operations of a batch, in memory.
-- uses: the locals of batch.lua and holds.lua; accounts.lua
--
-- Invariant: remaining + reserved + committed = granted after each operation, for its
-- account; money is debited only if remaining covers it. debitIfAvailable of the local
-- engine makes the test and the debit one compare-and-swap; here the script is one step.
local ends = ttl > 0 and now + ttl or 0
local endsText, endsBytes = format('%d', ends), nowBytes .. pack('>I6', ends)
local several, other = accounts > 1, nil

for operation = 1, operations do
	local kind, i, code = byte(kinds, operation), 1, nil
	if several then
		i = byte(accountOf, operation)
	end
	if kind == $RESERVE or kind == $RESERVE_TTL then
		local at, text, bytes, next = ends, endsText, endsBytes, position + 25
		if kind == $RESERVE_TTL then
			at, next = read('>I6', arguments, next)
			at = at > 0 and now + at or 0
			text, bytes = format('%d', at), nowBytes .. pack('>I6', at)
		end
		if blocked[i] then
			code = blocked[i]
		elseif not gh[i] then
			code = $CODE_NO_TENANT
		elseif $LOW_MEMORY then
			code = $CODE_MEMORY
		elseif maxHolds > 0 and held[i] >= maxHolds then
			code = $CODE_HOLDS_FULL
		else
			local hi, lo = read('>I4I4', arguments, position)
			local h, l = rh[i] - hi, rl[i] - lo
			if l < 0 then
				h, l = h - 1, l + 4294967296
			end
			if h < 0 then
				code = $CODE_INSUFFICIENT
			else
				rh[i], rl[i] = h, l
				h, l = sh[i] + hi, sl[i] + lo
				if l >= 4294967296 then
					h, l = h + 1, l - 4294967296
				end
				if held[i] == 0 then
					deadline[i], young[i], older[i], turn[i] = 0, 0, 0, sequence
				end
				sh[i], sl[i], held[i], dirty[i] = h, l, held[i] + 1, true
				local first = deadline
				if turn[i] == sequence then
					older[i] = older[i] + 1
				else
					first = young
				end
				local field = sub(arguments, position + 8, position + 24)
				set[size + 1], set[size + 2] = field, $OPEN .. sub(arguments, position, position + 7) .. bytes .. (owned[i] or ownedBy(i))
				size = size + 2
				if at > 0 then
					timed[timedSize + 1], timed[timedSize + 2] = text, field
					timedSize = timedSize + 2
					if first[i] == 0 or at < first[i] then
						first[i] = at
					end
					if due == 0 or at < due then
						due = at
					end
				end
				code = $CODE_RESERVED
			end
		end
		position = next
	elseif kind == $COMMIT or kind == $RELEASE then
		local field = ARGV[9 + accounts + named]
		local value = became[field] or stored[3 + accounts + named]
		named = named + 1
		if not value or byte(value) ~= $IS_OPEN then
			code = priorOf(i, field, value)
		elseif #value < $HOLD_BYTES then
			damaged, code = damaged or field, $CODE_CORRUPT
		else
			local _, heldHi, heldLo, _, _, number, since = read($HOLD, value)
			local h, l = 0, 0
			if gh[i] then
				h, l = sh[i] - heldHi, sl[i] - heldLo
				if l < 0 then
					h, l = h - 1, l + 4294967296
				end
			end
			if not owns(i, value, number) then
				code = $CODE_NO_HOLD
			elseif blocked[i] then
				code = blocked[i]
			elseif not gh[i] then
				code = $CODE_NO_TENANT
			elseif h < 0 or held[i] == 0 then
				damaged, code = damaged or field, $CODE_CORRUPT
			else
				local state, actual, hi, lo = $RELEASED, '\0\0\0\0\0\0\0\0', 0, 0
				if kind == $COMMIT then
					state, actual = $COMMITTED, sub(arguments, position, position + 7)
					hi, lo = read('>I4I4', actual)
				end
				local restHi, restLo = rh[i] + heldHi - hi, rl[i] + heldLo - lo
				if restLo < 0 then
					restHi, restLo = restHi - 1, restLo + 4294967296
				elseif restLo >= 4294967296 then
					restHi, restLo = restHi + 1, restLo - 4294967296
				end
				local costHi, costLo = ch[i] + hi, cl[i] + lo
				if costLo >= 4294967296 then
					costHi, costLo = costHi + 1, costLo - 4294967296
				end
				if restHi < 0 and (hi > heldHi or hi == heldHi and lo > heldLo) then
					code = $CODE_OVERRUN
				elseif costHi > 2147483647 then
					code = $CODE_OVERFLOW
				else
					rh[i], rl[i], sh[i], sl[i], ch[i], cl[i] = restHi, restLo, h, l, costHi, costLo
					held[i], dirty[i] = held[i] - 1, true
					if since <= turn[i] then
						older[i] = older[i] - 1
						if older[i] <= 0 then
							deadline[i], young[i], older[i], turn[i] = young[i], 0, held[i], sequence
						end
					end
					valueCount = valueCount + 1
					values[valueCount] = sub(value, 2, 9)
					value = state .. sub(value, 2, 15) .. nowBytes .. sub(value, 22, 33) .. sequenceBytes .. actual .. sub(value, 34)
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
	else
		other = other or otherOperations()
		code = other(kind, i)
	end
	codes[operation] = code
end
