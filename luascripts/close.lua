-- close: ends a node's session in a family.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 the family's field f   2 node   3 number of the last batch
--       4 clock in milliseconds, '' for the server's
-- Reply CLOSED (also where there was no session);
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, STALE last
--
-- Invariant: it moves no money. A session that went on meanwhile stays. What is
-- closed is remembered for 10 minutes (digest -), so that commands of the node
-- that come late find it and change nothing.
local books, timers, node, number = KEYS[1], KEYS[2], ARGV[2], ARGV[3]
local session = 's' .. node
local read = redis.call('HMGET', books, 'f', 't', 'n', session)
if read[1] ~= ARGV[1] then
	return refuseFamily(read[1])
end
if not read[4] then
	return 'CLOSED'
end
local last = read[4]:match('^(%d+) ')
if last ~= number then
	return 'STALE ' .. (last or '?')
end
local now = tick(read[2], ARGV[4])
local gone = ('%d'):format(now + 600000)
redis.call('ZADD', timers, gone, session)
if not read[3] or read[3] == '0' or gone + 0 < read[3] + 0 then
	redis.call('HSET', books, 'n', gone)
end
redis.call('HSET', books, session, number .. (' - %d'):format(now))
redis.call('HDEL', books, 'r' .. node)
return 'CLOSED'
