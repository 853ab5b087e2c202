-- amount: exact arithmetic on amounts of up to 64 bits.
--
-- A Lua number is a double and rounds above 2^53, so an amount is never one. It
-- is a pair of limbs, value = hi * 10^9 + lo, made from its decimal text by
-- cutting the text. Each limb is a small integer, exact in a double. A pair is
-- normal when 0 <= lo < 10^9; hi carries the sign.
--
-- Invariant: a sum of pairs is the exact sum. A sum may be left without carry
-- (limb by limb) for up to 2000 terms, since 2000 * 10^9 is far below 2^53.
local byte, find, format, match, sub = string.byte, string.find, string.format, string.match, string.sub
local BASE = 1000000000
local MAX_HI, MAX_LO = 9223372036, 854775807

local function malformed(what, text)
	error('BURSAR malformed ' .. what .. ': ' .. sub(tostring(text), 1, 40), 0)
end

-- split returns the pair of an amount that is not negative.
local function split(text)
	local length = #text
	if length > 19 or not find(text, '^%d+$') then
		malformed('amount', text)
	end
	if length < 10 then
		return 0, tonumber(text)
	end
	return tonumber(sub(text, 1, length - 9)), tonumber(sub(text, -9))
end

-- carry makes a pair normal.
local function carry(hi, lo)
	local rest = lo % BASE
	return hi + (lo - rest) / BASE, rest
end

-- splitSigned returns the normal pair of any amount.
local function splitSigned(text)
	if byte(text) ~= 45 then
		return split(text)
	end
	local hi, lo = split(sub(text, 2))
	return carry(-hi, -lo)
end

-- join returns the decimal text of a normal pair.
local function join(hi, lo)
	if hi < 0 then
		hi, lo = carry(-hi, -lo)
		return '-' .. join(hi, lo)
	end
	if hi == 0 then
		return format('%d', lo)
	end
	return format('%d%09d', hi, lo)
end
