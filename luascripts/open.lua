-- open: opens a node's session in a family, or returns it as it is.
--
-- KEYS  1 books (hash)
-- ARGV  1 node, 16 hexadecimal digits   2 number that the session starts from
--       3 clock in milliseconds, '' for the server's
-- Reply OPEN incarnation last digest reply (digest 0 and no reply: no batch yet);
-- or    NOFAMILY, LAYOUT version, CORRUPT field
--
-- Invariant: it moves no money, and never changes a session that exists. It
-- names one key, so that a family that is not there is answered while its slot
-- migrates, too.
local books, node, number, clock = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local read = redis.call('HMGET', books, 'f', 's' .. node, 'r' .. node)
local family, refusal = readFamily(read[1])
if not family then
	return refusal
end
if not read[2] then
	tick(family, clock)
	redis.call('HSET', books, 's' .. node, number .. ' 0' .. format(' %.0f', family.now))
	return 'OPEN ' .. family.born .. ' ' .. number .. ' 0 '
end
local last, digest = match(read[2], '^(%d+) (%x+) %d+$')
if not last then
	return 'CORRUPT s' .. node
end
return 'OPEN ' .. family.born .. ' ' .. last .. ' ' .. digest .. ' ' .. (read[3] or '')
