-- thresholds: finds the thresholds that an operation crosses. The file stands in expiry.lua,
-- for batches with accounts that have flags or settings, and for changes of these.
-- uses: the locals of batch.lua
--
-- Invariant: a threshold is crossed by an operation after which committed * 100 >= granted *
-- percent and something is committed, if that was not so before it. So it is crossed again
-- only after a grant or a change of settings has lowered the ratio.

local none = {}

-- reached returns the thresholds that an account has reached.
reached = function(a)
	local settings = a[$SETTINGS]
	if not settings or settings[$THRESHOLDS] == 0 then
		return none
	end
	local found = {}
	if a[$COMMITTED_HI] > 0 or a[$COMMITTED_LO] > 0 then
		local cost = a[$COMMITTED_LO] * 100
		local costLo = cost % 4294967296
		local costHi = a[$COMMITTED_HI] * 100 + (cost - costLo) / 4294967296
		for n = $THRESHOLDS + 1, $THRESHOLDS + settings[$THRESHOLDS] do
			local share = a[$GRANTED_LO] * settings[n]
			local shareLo = share % 4294967296
			local shareHi = a[$GRANTED_HI] * settings[n] + (share - shareLo) / 4294967296
			if costHi > shareHi or costHi == shareHi and costLo >= shareLo then
				found[settings[n]] = true
			end
		end
	end
	return found
end

-- cross reports what the last operation on an account crossed.
cross = function(i)
	local a = account[i]
	local settings, before, after = a[$SETTINGS], a[$REACHED], reached(a)
	for n = $THRESHOLDS + 1, after ~= none and $THRESHOLDS + settings[$THRESHOLDS] or 0 do
		if after[settings[n]] and not before[settings[n]] then
			crossed, crossings = crossed + 1, crossings or {}
			crossings[crossed] = pack('>BI2I4I4i4I4', i, settings[n], a[$COMMITTED_HI], a[$COMMITTED_LO], a[$GRANTED_HI], a[$GRANTED_LO])
		end
	end
	a[$REACHED] = after
end
