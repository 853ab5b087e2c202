-- rebuild: restores a part of a partition's timers from its ledger.
-- uses: ledger.lua
--
-- KEYS  1 ledger   2 timers
-- ARGV  1 the partition's header f   2 which rebuild (16 bytes)   3 cursor, 0 to begin
--       4 clock in Unix ms, decimal; '' for the server's
-- Reply NEXT cursor; DONE; AGAIN if the timers were lost again: begin another;
-- or    NOPARTITION, LAYOUT n, INCARNATION header, CORRUPT c
--
-- Invariant: it only adds timers of holds, sessions and records that are stored. The
-- sentinel, which shows that the timers are complete, is added after a full pass over
-- the ledger; a batch adds the timers of its own records. Each page leaves a mark in the
-- timers, and the next page requires it: without it the timers of that page were lost
-- again, or by a failover. A cursor is valid on one server only, so the mark contains the
-- address of a table, which differs between servers. A page that arrives late belongs to
-- an abandoned rebuild: after a lost reply the node begins another.
local ledger, timers, cursor = KEYS[1], KEYS[2], ARGV[3]
local stored = call('HMGET', ledger, 'f', 'c')
if stored[1] ~= ARGV[1] then
	return refusePartition(stored[1])
end
local control = stored[2] or ''
if #control < $CONTROL_BYTES then
	return 'CORRUPT c'
end
local function mark(at)
	return 'b' .. ARGV[2] .. at .. tostring(redis)
end
local whole = call('ZSCORE', timers, $SENTINEL)
if not whole and cursor ~= '0' and not call('ZSCORE', timers, mark(cursor)) then
	return 'AGAIN'
end
call('ZREM', timers, mark(cursor))
if whole then
	return 'DONE'
end
local page = call('HSCAN', ledger, cursor, 'COUNT', $REBUILD_FIELDS)
local entries, timed, size = page[2], {}, 0
for i = 1, #entries, 2 do
	local field, record = entries[i], entries[i + 1]
	local kind, at = field:byte(), 0
	if kind == $IS_HOLD and record:byte() == $IS_OPEN then
		at = #record < $HOLD_BYTES and 1 or read('>I6', record, 28) -- a damaged one is reported when it is due
	elseif kind == $IS_SESSION and #record >= $SESSION_BYTES then
		at = read('>I6', record, 18) + $SESSION_RETENTION_MS
	elseif kind == $IS_ENDINGS and #record >= 6 then
		at = read('>I6', record)
	end
	if at ~= 0 then
		timed[size + 1], timed[size + 2] = format('%d', at), field
		size = size + 2
	end
	if size >= 2000 then
		call('ZADD', timers, unpack(timed, 1, size))
		size = 0
	end
end
if size > 0 then
	call('ZADD', timers, unpack(timed, 1, size))
end
if page[1] ~= '0' then
	call('ZADD', timers, format('%d', clockTime(read('>I6', control), ARGV[4]) + $REBUILD_MS), mark(page[1]))
	return 'NEXT ' .. page[1]
end
call('ZADD', timers, '+inf', $SENTINEL)
-- An added timer may be the next one: let the next batch look.
call('HSET', ledger, 'c', sub(control, 1, 6) .. pack('>I6', 1) .. sub(control, 13))
return 'DONE'
