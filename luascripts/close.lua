-- close: ends a node's session in a family.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 incarnation   2 node   3 number of the last batch
-- Reply CLOSED (also where there was no session);
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, STALE last
--
-- Invariant: it moves no money. A session that went on meanwhile stays.
local books, timers = KEYS[1], KEYS[2]
local incarnation, node, number = ARGV[1], ARGV[2], ARGV[3]
local read = redis.call('HMGET', books, 'f', 's' .. node)
local family, refusal = readFamily(read[1], incarnation)
if not family then
	return refusal
end
local last = match(read[2] or '', '^(%d+) ')
if last and last ~= number then
	return 'STALE ' .. last
end
redis.call('HDEL', books, 's' .. node, 'r' .. node)
redis.call('ZREM', timers, 's' .. node)
return 'CLOSED'
