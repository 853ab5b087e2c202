-- sweep: ends holds that are due, when they are too many for a batch.
--
-- KEYS  1 books (hash)  2 timers (sorted set), both with the family's hash tag
-- ARGV  1 incarnation   2 clock in milliseconds, '' for the server's
-- Reply SWEPT left, where left is 1 while more is due;
-- or    NOFAMILY, LAYOUT version, INCARNATION its own, CORRUPT field
--
-- Invariant: as for batch. It carries no number: it ends only what is open and
-- due, so a repeat finds less to do and can do no harm.
local books, timers = KEYS[1], KEYS[2]
local incarnation, clock = ARGV[1], ARGV[2]
local bound = 500

local family, refusal = readFamily(redis.call('HGET', books, 'f'), incarnation)
if not family then
	return refusal
end
tick(family, clock)
local due = redis.call('ZRANGEBYSCORE', timers, '-inf', format('%.0f', family.now), 'LIMIT', 0, bound + 1)
local left = #due > bound and '1' or '0'
due[bound + 1] = nil
if #due == 0 then
	return 'SWEPT 0'
end

local accounts, endings, add, set = {}, newEndings(), {}, {}
local corrupt = sweep(books, due, family, {}, endings, accounts)
if corrupt then
	return 'CORRUPT ' .. corrupt
end
renewSessions(family, endings, add)
forget(books, family, endings)
writeEndings(family, endings, set)
for i = 1, #accounts do
	if accounts[i].dirty then
		set[#set + 1], set[#set + 2] = accounts[i].field, accountText(accounts[i])
	end
end
if #add > 0 then
	redis.call('ZADD', timers, unpack(add))
end
redis.call('HSET', books, 'f', familyText(family), unpack(set))
cleanUp(books, timers, endings)
return 'SWEPT ' .. left
