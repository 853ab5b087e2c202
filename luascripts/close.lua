-- close: ends a node's session in a partition.
-- uses: ledger.lua
--
-- KEYS  1 ledger   2 timers
-- ARGV  1 node (8 bytes)   2 number of the node's last batch (64 bits)
--       3 the partition's header f   4 clock in Unix ms, decimal; '' for the server's
-- Reply CLOSED (also without a session);
-- or    NOPARTITION, LAYOUT n, INCARNATION header, STALE, CORRUPT field
--
-- Invariant: it moves no money. A session that has gone on stays. A closed one is kept
-- for 10 minutes, so that late commands of the node find it and change nothing.
local ledger, timers, field = KEYS[1], KEYS[2], 's' .. ARGV[1]
local stored = call('HMGET', ledger, 'f', 'c', field)
if stored[1] ~= ARGV[3] then
	return refusePartition(stored[1])
elseif not stored[3] then
	return 'CLOSED'
elseif #stored[3] < $SESSION_BYTES then
	return 'CORRUPT ' .. field
elseif sub(stored[3], 2, 9) ~= ARGV[2] then
	return 'STALE'
elseif #(stored[2] or '') < $CONTROL_BYTES then
	return 'CORRUPT c'
end
local control = stored[2]
local time, due = read('>I6I6', control)
local now = clockTime(time, ARGV[4])
local ends = now + $SESSION_CLOSED_MS
call('ZADD', timers, format('%d', ends), field)
if due == 0 or ends < due then
	call('HSET', ledger, 'c', sub(control, 1, 6) .. pack('>I6', ends) .. sub(control, 13))
end
call('HSET', ledger, field, $SESSION_CLOSED .. sub(stored[3], 2, 17) .. pack('>I6', now))
call('HDEL', ledger, 'r' .. ARGV[1])
return 'CLOSED'
