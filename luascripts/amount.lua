-- amount: exact arithmetic on amounts of up to 64 bits.
--
-- A Lua number is a double and rounds above 2^53, so an amount is never one. It
-- is a pair of limbs, value = hi * 10^9 + lo, made from its decimal text by
-- cutting the text. Each limb is a small integer, exact in a double. A pair is
-- normal when 0 <= lo < 10^9; hi carries the sign.
--
-- Invariant: a sum of pairs is the exact sum. A sum may be left without carry
-- (limb by limb) for up to 2000 terms, since 2000 * 10^9 is far below 2^53.
--
-- Scripts build their functions anew at every call, and each local that a
-- function captures costs about as much as the function. So these take what they
-- need as arguments, but for what every family of a call needs many times.
local sub, byte, find, match, format, call = string.sub, string.byte, string.find, string.match, string.format, redis.call

-- limbs returns the pair of a text that is known to be 1 to 19 digits. The 1 in
-- front keeps miniredis from reading leading zeros as an octal number.
local function limbs(text)
	local length = #text
	if length < 10 then
		return 0, text + 0
	end
	return sub(text, 1, length - 9) + 0, ('1' .. sub(text, length - 8)) - 1000000000
end

-- split returns the pair of an argument, or ends the script.
local function split(text)
	if #text > 19 or not find(text, '^%d+$') then
		error('BURSAR malformed amount: ' .. text:sub(1, 40), 0)
	end
	return limbs(text)
end

-- carry makes a pair normal.
local function carry(hi, lo)
	local rest = lo % 1000000000
	return hi + (lo - rest) / 1000000000, rest
end

-- join returns the decimal text of a pair.
local function join(hi, lo)
	if lo < 0 or lo >= 1000000000 then
		hi, lo = carry(hi, lo)
	end
	if hi > 0 then
		return format('%d%09d', hi, lo)
	elseif hi == 0 then
		return format('%d', lo)
	end
	return '-' .. join(-hi, -lo)
end
