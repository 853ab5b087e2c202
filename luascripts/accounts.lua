-- accounts: the operations on accounts and reads, which are rare beside reserves and
-- settles. Their functions are built when a batch has one of them.
-- uses: the locals of batch.lua and holds.lua; in a merge also merge.lua
--
-- Invariant: granted and remaining move alike; an account is deleted with its
-- committed money, so that the terms of the law go together, and only without holds.

local function otherOperations()
	local function amountAt()
		local hi, lo = read('>I4I4', arguments, position)
		position = position + 8
		return hi, lo
	end

	local function tell(text)
		valueCount = valueCount + 1
		values[valueCount] = text
	end

	local function ensure(i, hi, lo)
		if blocked[i] then
			return blocked[i]
		elseif gh[i] then
			return $CODE_EXISTS
		elseif $LOW_MEMORY then
			return $CODE_MEMORY
		end
		lastSerial = lastSerial + 1
		gh[i], gl[i], rh[i], rl[i], sh[i], sl[i], ch[i], cl[i] = hi, lo, hi, lo, 0, 0, 0, 0
		held[i], serial[i], flagsOf[i], tail[i], dirty[i] = 0, lastSerial, 0, nil, true
		deadline[i], young[i], older[i], turn[i] = 0, 0, 0, 0
		return $CODE_CREATED
	end

	local function adjust(kind, i, hi, lo)
		if blocked[i] then
			return blocked[i]
		elseif not gh[i] then
			return $CODE_NO_TENANT
		end
		local gH, gL, rH, rL
		if kind == $WITHDRAW then
			gH, gL = minus(gh[i], gl[i], hi, lo)
			rH, rL = minus(rh[i], rl[i], hi, lo)
			if rH < 0 then
				return $CODE_INSUFFICIENT
			end
		elseif $LOW_MEMORY then
			return $CODE_MEMORY
		else
			gH, gL = plus(gh[i], gl[i], hi, lo)
			rH, rL = plus(rh[i], rl[i], hi, lo)
			if gH > 2147483647 then
				return $CODE_OVERFLOW
			end
		end
		gh[i], gl[i], rh[i], rl[i], dirty[i] = gH, gL, rH, rL, true
		return kind == $WITHDRAW and $CODE_WITHDRAWN or $CODE_GRANTED
	end

	local function look(kind, i)
		if blocked[i] then
			return blocked[i]
		elseif not gh[i] then
			return $CODE_NO_TENANT
		elseif kind == $REMAINING then
			return $CODE_REMAINING
		end
		tell(pack('>I4I4I4I4I4I4I8', gh[i], gl[i], sh[i], sl[i], ch[i], cl[i], held[i]))
		if kind == $BALANCE then
			return $CODE_BALANCE
		elseif held[i] > 0 or sh[i] ~= 0 or sl[i] ~= 0 then
			return $CODE_HOLDS_OPEN
		end
		gh[i], dirty[i], owned[i] = nil, true, nil
		return $CODE_DELETED
	end

	local function lookup(i)
		local field = ARGV[9 + accounts + named]
		local value = became[field] or stored[3 + accounts + named]
		named = named + 1
		if not value then
			return $CODE_NOT_KNOWN
		elseif byte(value) ~= $IS_OPEN then
			local code = priorOf(i, field, value)
			if code == $CODE_NO_HOLD or code == $CODE_CORRUPT then
				return code == $CODE_NO_HOLD and $CODE_NOT_KNOWN or code
			end
			local amount = code == $CODE_WAS_COMMITTED and sub(value, 40, 47) or sub(value, 2, 9)
			tell(sub(value, 1, 1) .. amount .. sub(value, 16, 21) .. '\0\0\0\0\0\0')
			return $CODE_KNOWN
		elseif #value < $HOLD_BYTES then
			damaged = damaged or field
			return $CODE_CORRUPT
		end
		local _, _, _, _, _, number = read($HOLD, value)
		if not owns(i, value, number) then
			return $CODE_NOT_KNOWN
		elseif blocked[i] then
			return blocked[i]
		end
		tell(sub(value, 1, 21))
		return $CODE_KNOWN
	end

	local merge = $MERGES and mergeOperation()

	return function(kind, i)
		if kind == $ENSURE then
			return ensure(i, amountAt())
		elseif kind == $GRANT or kind == $WITHDRAW then
			return adjust(kind, i, amountAt())
		elseif kind == $BALANCE or kind == $REMAINING or kind == $DELETE then
			return look(kind, i)
		elseif kind == $LOOKUP then
			return lookup(i)
		elseif kind == $MERGE and merge then
			return merge(i)
		end
		error('BURSAR malformed kind: ' .. kind, 0)
	end
end
