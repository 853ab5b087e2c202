-- holds: reads one account and its open holds at one instant.
--
-- KEYS  1 books (hash)
-- ARGV  1 incarnation   2 level ('' for the root)
-- Reply a list: FOUND, the account's text, then field and value of each open hold;
-- or    a list of one: NOTENANT, NOFAMILY, LAYOUT version, INCARNATION its own
--
-- Invariant: it writes nothing. It is not declared so, since a replica would
-- then run it, and a replica may lag.
local books, incarnation, level = KEYS[1], ARGV[1], ARGV[2]
local all = redis.call('HGETALL', books)
local familyField, account, found = false, false, { 'FOUND', '' }
for i = 1, #all, 2 do
	local field, value = all[i], all[i + 1]
	local kind = byte(field)
	if kind == 102 then
		familyField = value
	elseif kind == 97 and sub(field, 2) == level then
		account = value
	elseif kind == 104 and byte(value) == 111 and sub(field, 34) == level then
		found[#found + 1] = field
		found[#found + 1] = value
	end
end
local family, refusal = readFamily(familyField, incarnation)
if not family then
	return { refusal }
end
if not account then
	return { 'NOTENANT' }
end
found[2] = account
return found
