-- write: the only writes of a batch, after every check and decision.
-- uses: the locals of batch.lua and holds.lua
--
-- Invariant: an error of a script means that nothing was written. New timers come
-- first: one without a hold ends nothing. Then one HSET writes all money together with
-- the session and the stored reply. Removals come last and may fail: a deleted
-- account's record is the text -, and a timer without an open hold goes when it is due.
if settledSize > 0 then
	set[size + 1], set[size + 2] = 'd' .. pack('>I6', ringHead), nowBytes .. table.concat(settled)
	size, ringHead, ringCount = size + 2, ringHead + 1, ringCount + settledSize
	-- Old records go while the ring holds too many tombstones, at most one more than holds
	-- were settled, since each names at least one; and every 32 records those beyond the
	-- retention.
	local sweeps = ringHead % 32 == 0
	local stop = math.min(ringHead - 1, ringTail + (sweeps and 64 or settledSize + 1))
	while ringTail < stop and (sweeps or ringCount > ringSize) do
		local names = { 'd' .. pack('>I6', ringTail) }
		local record = call('HGET', ledger, names[1])
		if record and ringCount <= ringSize and #record >= 6 and now - read('>I6', record) <= retention then
			break
		end
		for at = 7, record and #record or 0, 17 do
			names[#names + 1] = sub(record, at, at + 16)
		end
		drop = drop or {}
		drop[#drop + 1] = names
		ringTail, ringCount = ringTail + 1, ringCount - #names + 1
	end
end
if expired then
	local member, ends = 'e' .. pack('>I6', endings), now + retention
	set[size + 1], set[size + 2] = member, pack('>I6', ends) .. table.concat(expired)
	size, endings = size + 2, endings + 1
	schedule(ends, member)
end
for i = 1, loaded do
	if dirty[i] then
		local a = account[i]
		set[size + 1] = fields[i]
		if a then
			set[size + 2] = pack($ACCOUNT, unpack(a))
			if a[$FLAGS] >= $HAS_SETTINGS then
				local w, limits = a[$WINDOW], a[$LIMITS]
				set[size + 2] = set[size + 2] .. a[$TAIL]
					.. (w and (w[$TEXT] or windowText(w)) or '') .. (limits and string.char(limits) or '')
			end
		else
			set[size + 2] = $DELETED
			drop = drop or {}
			drop[#drop + 1] = { fields[i] }
		end
		size = size + 2
	end
end
if sub(stored[3], 1, 1) == $SESSION_NEW then
	schedule(now + $SESSION_RETENTION_MS, sessionField)
end
if damaged then
	flags = flags + 4
end
if crossed > 0 then
	flags, valueCount = flags + 8, valueCount + 1
	values[valueCount] = pack('>I2', crossed) .. table.concat(crossings)
end
local windows, results = '', table.concat(codes)
if lacks then
	flags, windows = flags + $LIMITS_FOLLOW, string.char(#lacks) .. table.concat(lacks)
end
-- Only the calls that they answer need the windows.
if windowed and (late or results:find('[' .. $CODE_INSUFFICIENT .. $CODE_REMAINING .. $CODE_WINDOW .. ']')) then
	local texts = { '', '' }
	for i = 1, accounts do
		local w = account[i] and account[i][$WINDOW]
		if w and w[$PERIOD] > 0 then
			local next = blocked[i] ~= $CODE_WINDOW and (renewsAt and renewsAt(w) or w[$AHEAD][1]) or 0
			texts[#texts + 1] = pack('>BI6', i, next) .. (next == 0 and pack('>I6BBB', w[$MARK], w[$PERIOD], w[$FIRST], #w[$ZONE]) .. w[$ZONE] or '')
		end
	end
	flags, texts[1] = flags + $WINDOWS_FOLLOW, string.char(#texts - 2)
	windows = windows .. table.concat(texts) .. pack('>I2', late and #late or 0) .. (late and table.concat(late) or '')
end
local reply = 'A' .. nowBytes .. string.char(flags) .. results .. windows .. table.concat(values) .. (damaged or '')
local session = $SESSION_APPLIED .. mark .. nowBytes
if $MERGES and byte(terms, 17) == 1 then
	session = $SESSION_REPAIRING .. mark .. nowBytes .. sub(terms, 9, 16)
end
if paid then
	-- Of all codes only that of a CommitAvailable doesn't show its effect.
	results = results .. paid
end
set[size + 1], set[size + 2], set[size + 3], set[size + 4] = sessionField, session .. results, 'r' .. node, reply
set[size + 5], set[size + 6] = 'c', pack($CONTROL, now, due, sequence, lastSerial, ringHead, ringTail, ringCount, endings)
if timedSize > 0 then
	call('ZADD', timers, unpack(timed, 1, timedSize))
end
if epochs then
	for name, e in pairs(epochs) do
		if e[$DROPPED] then
			drop = drop or {}
			drop[#drop + 1] = { name }
		elseif e[$CHANGED] then
			call('HSET', ledger, name, pack($EPOCH_FORM, unpack(e, 1, $EPOCH_END)))
		end
	end
end
call('HSET', ledger, unpack(set, 1, size + 6))
for i = 1, drop and #drop or 0 do
	redis.pcall('HDEL', ledger, unpack(drop[i]))
end
if settledSize > 0 then
	redis.pcall('ZREM', timers, unpack(settled, 1, settledSize))
end
if remove and #remove > 0 then
	redis.pcall('ZREM', timers, unpack(remove))
end
return reply
