-- struct: the part of Redis' struct library that the records need, for miniredis,
-- which has none: big-endian integers of n bytes, I unsigned and i signed, B a byte,
-- c n bytes as they are.
local struct = {}
function struct.unpack(form, text, at)
	at = at or 1
	local found = {}
	for kind, width in form:gmatch('(%a)(%d*)') do
		local bytes = kind == 'B' and 1 or tonumber(width)
		if at + bytes - 1 > #text then
			error('data string too short', 0)
		end
		if kind == 'c' then
			found[#found + 1] = text:sub(at, at + bytes - 1)
		else
			local n = 0
			for i = at, at + bytes - 1 do
				n = n * 256 + text:byte(i)
			end
			if kind == 'i' and text:byte(at) > 127 then
				n = n - 256 ^ bytes
			end
			found[#found + 1] = n
		end
		at = at + bytes
	end
	found[#found + 1] = at
	return unpack(found)
end
function struct.pack(form, ...)
	local place, out = 0, {}
	for kind, width in form:gmatch('(%a)(%d*)') do
		local bytes = kind == 'B' and 1 or tonumber(width)
		place = place + 1
		local n = select(place, ...)
		if kind == 'c' then
			out[#out + 1] = n:sub(1, bytes)
		else
			if n < 0 then
				n = n + 256 ^ bytes
			end
			local digits = {}
			for i = bytes, 1, -1 do
				local rest = n % 256
				digits[i] = string.char(rest)
				n = (n - rest) / 256
			end
			out[#out + 1] = table.concat(digits)
		end
	end
	return table.concat(out)
end
