-- holds: reads one account and its open holds at one instant.
--
-- KEYS  1 books (hash)
-- ARGV  1 the family's field f   2 level ('' for the root)
-- Reply a list: FOUND, the account's text, then field and value of each open hold;
-- or    a list of one: NOTENANT, NOFAMILY, LAYOUT version, INCARNATION its own
--
-- Invariant: it writes nothing. It is not declared so, since a replica would
-- then run it, and a replica may lag.
local level = ARGV[2]
local all = redis.call('HGETALL', KEYS[1])
local family, account, found = false, false, { 'FOUND', '' }
for i = 1, #all, 2 do
	local field, value = all[i], all[i + 1]
	local kind = field:byte()
	if field == 'f' then
		family = value
	elseif kind == 97 and field:sub(2) == level and value ~= '-' then
		account = value
	elseif kind == 104 and value:byte() == 111 and field:sub(34) == level then
		found[#found + 1] = field
		found[#found + 1] = value
	end
end
if family ~= ARGV[1] then
	return { refuseFamily(family) }
end
if not account then
	return { 'NOTENANT' }
end
found[2] = account
return found
