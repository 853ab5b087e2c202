-- close: ends a node's session in a family.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 the family's field f   2 node   3 number of the last batch
-- Reply CLOSED (also where there was no session);
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, STALE last
--
-- Invariant: it moves no money. A session that went on meanwhile stays.
local books, timers, node, number = KEYS[1], KEYS[2], ARGV[2], ARGV[3]
local read = redis.call('HMGET', books, 'f', 's' .. node)
if read[1] ~= ARGV[1] then
	return refuseFamily(read[1])
end
local last = (read[2] or ''):match('^(%d+) ')
if last and last ~= number then
	return 'STALE ' .. last
end
redis.call('HDEL', books, 's' .. node, 'r' .. node)
redis.call('ZREM', timers, 's' .. node)
return 'CLOSED'
