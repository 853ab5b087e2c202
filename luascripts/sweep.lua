-- sweep: ends holds that are due, when they are too many for a batch.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 the family's field f   2 clock in milliseconds, '' for the server's
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
local now = tick(read[2], ARGV[2])
local nowText = ('%d'):format(now)
local due = redis.call('ZRANGEBYSCORE', timers, '-inf', nowText, 'LIMIT', 0, bound + 1)
local left = #due > bound and '1' or '0'
due[bound + 1] = nil

local accounts, endings, add, set = {}, newEndings(nowText), {}, { 't', nowText }
if #due > 0 then
	local corrupt = sweep(books, due, now, accounts, endings, add, '')
	if corrupt then
		return 'CORRUPT ' .. corrupt
	end
end
remember(books, read[3], now, endings, set, #set)
for i = 1, #accounts do
	if accounts[i].dirty then
		set[#set + 1], set[#set + 2] = accounts[i].field, accountText(accounts[i])
	end
end
if #add > 0 then
	redis.call('ZADD', timers, unpack(add))
end
set[#set + 1], set[#set + 2] = 'n', left == '1' and nowText or nextDue(timers, nowText)
redis.call('HSET', books, unpack(set))
cleanUp(books, timers, endings)
return 'SWEPT ' .. left
