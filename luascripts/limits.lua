-- limits: finds damaged accounts of limits. The file stands in batch.lua, for batches with
-- limits, and in places.lua.
-- uses: the locals of batch.lua
--
-- Invariant: the account of a limit has settings, a window of its period, and nothing else.
checkLimit = function(i)
	local a, period = account[i], byte(fields[i], 2)
	if a and period <= $LAST_PERIOD and (a[$FLAGS] ~= $HAS_SETTINGS + $HAS_WINDOW or a[$WINDOW][$PERIOD] ~= period) then
		account[i], blocked[i] = nil, $CODE_CORRUPT
		if configured then
			configured[i] = nil
		end
	end
end
