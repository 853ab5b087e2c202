-- sweep: ends holds that are due, when they are too many for a batch.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 the family's field f   2 clock in milliseconds, '' for the server's
--       3 how long, in ms, and 4 of how many holds it is remembered how they ended
-- Reply SWEPT left, where left is 1 while more is due;
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, CORRUPT field
--
-- Invariant: as for batch. It carries no number: it ends only what is open and
-- due, so a repeat finds less to do and can do no harm.
local books, timers = KEYS[1], KEYS[2]
local bound = 500

local read = redis.call('HMGET', books, 'f', 't', 'd')
if read[1] ~= ARGV[1] then
	return refuseFamily(read[1])
end
local b = newWrites(tick(read[2], ARGV[2]))
b.retention, b.retained = ARGV[3] + 0, ARGV[4] + 0
local due = redis.call('ZRANGEBYSCORE', timers, '-inf', b.nowText, 'LIMIT', 0, bound + 1)
local left = #due > bound
due[bound + 1] = nil
if #due > 0 then
	local corrupt = sweep(books, due, b, '')
	if corrupt then
		return 'CORRUPT ' .. corrupt
	end
end
write(books, timers, b, nil, read[3], '', left and b.nowText or nextDue(timers, b.nowText))
return left and 'SWEPT 1' or 'SWEPT 0'
