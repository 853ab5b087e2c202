-- open: opens a node's session in a family, or returns it as it is.
--
-- KEYS  1 books (hash)
-- ARGV  1 node, 16 hexadecimal digits   2 number that the session starts from
--       3 clock in milliseconds, '' for the server's
-- Reply OPEN layout incarnation last digest reply (digest 0 and no reply: no batch yet);
-- or    NOFAMILY, LAYOUT version, CORRUPT field
--
-- Invariant: it moves no money, and never changes a session that exists. It
-- names one key, so that a family that is not there is answered while its slot
-- migrates, too.
local books, node, number, clock = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local read = redis.call('HMGET', books, 'f', 't', 's' .. node, 'r' .. node)
local version, born = (read[1] or ''):match('^(%d+) (%x+)$')
if not known(version) then
	return refuseFamily(read[1])
end
if not read[3] then
	redis.call('HSET', books, 's' .. node, number .. ' 0 ' .. ('%d'):format(tick(read[2], clock)))
	return 'OPEN ' .. version .. ' ' .. born .. ' ' .. number .. ' 0 '
end
local last, digest = read[3]:match('^(%d+) ([%x-]+) %d+$')
if not last then
	return 'CORRUPT s' .. node
end
return 'OPEN ' .. version .. ' ' .. born .. ' ' .. last .. ' ' .. digest .. ' ' .. (read[4] or '')
