-- open: opens a node's session in a family, or returns it as it is.
--
-- KEYS  1 books (hash)
-- ARGV  1 node, 16 hexadecimal digits   2 number that the session starts from
--       3 clock in milliseconds, '' for the server's
-- Reply OPEN layout incarnation last digest time reply (digest 0 and no reply: no batch yet);
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
	local session = number .. ' 0 ' .. ('%d'):format(tick(read[2], clock))
	redis.call('HSET', books, 's' .. node, session)
	return 'OPEN ' .. version .. ' ' .. born .. ' ' .. session .. ' '
end
if not read[3]:find('^%d+ [%x-]+ %d+$') then
	return 'CORRUPT s' .. node
end
return 'OPEN ' .. version .. ' ' .. born .. ' ' .. read[3] .. ' ' .. (read[4] or '')
