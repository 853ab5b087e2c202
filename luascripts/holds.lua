-- holds: where operations leave their results.
-- uses: batch.lua's locals
-- The values of a reply begin with what remained of each account.
local codes, values, valueCount = { nil }, { nil, nil }, accounts
for i = 1, accounts do
	local a = account[i]
	if not a then
		values[i] = parents and '\128\0\0\0\0\0\0\0' or '\0\0\0\0\0\0\0\0'
	elseif dirty[i] then
		values[i] = pack('>i4I4', a[$REMAINING_HI], a[$REMAINING_LO])
	else
		values[i] = sub(a[$RECORD], 9, 16)
	end
end
local position = 1 -- of the next argument
local named = 0 -- the last named hold
local sequenceBytes = pack('>I6', sequence)
