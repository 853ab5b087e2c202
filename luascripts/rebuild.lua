-- rebuild: restores a part of a partition's timers from its ledger.
-- uses: ledger.lua
--
-- KEYS  1 ledger   2 timers
-- ARGV  1 the partition's header f   2 node (8 bytes)   3 cursor, 0 to begin
--       4 clock in Unix ms, decimal; '' for the server's
-- Reply NEXT cursor; DONE; AGAIN if the timers were lost once more, to begin anew;
-- or    NOPARTITION, LAYOUT n, INCARNATION header
--
-- Invariant: it only adds timers of holds, sessions and records that are stored. The
-- sentinel, which says that the timers are whole, is added after a full pass over the
-- ledger during which the node's own mark stayed in the timers; batches add the timers
-- of what they store themselves.
local ledger, timers, cursor = KEYS[1], KEYS[2], ARGV[3]
local stored = call('HMGET', ledger, 'f', 'c')
if stored[1] ~= ARGV[1] then
	return refusePartition(stored[1])
end
local mark = 'b' .. ARGV[2]
if cursor == '0' then
	if call('ZSCORE', timers, $SENTINEL) then
		return 'DONE'
	end
	local time = stored[2] and #stored[2] >= $CONTROL_BYTES and read('>I6', stored[2]) or 0
	call('ZADD', timers, format('%d', clockTime(time, ARGV[4]) + $REBUILD_MS), mark)
elseif not call('ZSCORE', timers, mark) then
	return 'AGAIN'
end
local page = call('HSCAN', ledger, cursor, 'COUNT', $REBUILD_FIELDS)
local entries, timed, size = page[2], {}, 0
for i = 1, #entries, 2 do
	local field, record = entries[i], entries[i + 1]
	local kind, at = field:byte(), 0
	if kind == $IS_HOLD and record:byte() == $IS_OPEN and #record >= $HOLD_BYTES then
		at = read('>I6', record, 16)
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
	return 'NEXT ' .. page[1]
end
call('ZADD', timers, '+inf', $SENTINEL)
call('ZREM', timers, mark)
return 'DONE'
