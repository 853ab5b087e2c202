-- settings: parses the settings, zones and times of accounts. The file stands in batch.lua, for
-- batches with an account that has settings.
-- uses: the locals of batch.lua
--
-- Many accounts have the same ones. So they are parsed once, by their text.
--
-- Invariant: a list that was parsed never changes, because accounts share it.
local parsed = {}

-- settingsIn returns the settings of a text, numbers with the thresholds at the end; false if
-- they are damaged.
local function settingsIn(text)
	local settings = { read($SETTINGS_FORM, text) }
	local at, last = settings[$THRESHOLDS + 1], 0
	settings[$THRESHOLDS + 1] = nil
	if settings[$OVERDRAFT_HI] > 2147483647 or settings[$CAP_HOLD_HI] > 2147483647 or settings[$CAP_RESERVED_HI] > 2147483647
		or settings[$THRESHOLDS] > $MAX_THRESHOLDS then
		return false
	end
	for n = $THRESHOLDS + 1, $THRESHOLDS + settings[$THRESHOLDS] do
		settings[n], at = read('>I2', text, at)
		if settings[n] <= last or settings[n] > $MAX_THRESHOLD then
			return false
		end
		last = settings[n]
	end
	return settings
end

-- timesIn returns a list of the zone and the times of a text, and whether these ascend. The zone
-- begins after the four bytes of the lengths.
local function timesIn(text, zone, count)
	local times, ascend = {}, true
	for first = 0, count - 1, 1000 do -- read returns no more than 8,000 at once
		local some = { read('>' .. string.rep('I6', math.min(1000, count - first)), text, zone + 5 + 6 * first) }
		for n = 1, #some - 1 do
			times[first + n] = some[n]
		end
	end
	for n = 2, count do
		ascend = ascend and times[n] > times[n - 1]
	end
	return { sub(text, 5, zone + 4), times, ascend }
end

-- parse returns the settings in a text, or its zone of that length and its number of times.
parse = function(text, zone, count)
	local result = parsed[text]
	if result == nil then
		if zone then
			result = timesIn(text, zone, count)
		else
			result = settingsIn(text)
		end
		parsed[text] = result
	end
	return result
end
