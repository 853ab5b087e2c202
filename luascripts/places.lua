-- places: finds the accounts that a hold has debited, also those that the batch doesn't
-- name. The file stands in expiry.lua, for batches with due timers, and in merge.lua.
-- uses: the locals of batch.lua
local places = {}
for i = 1, loaded do
	places[fields[i]] = i
end
if not checkLimit then
	-- Here stands limits.lua.
	$ON_LIMITS
end

local function placeOf(name)
	local i = places[name]
	if not i then
		i = loaded + 1
		loaded = i
		places[name], fields[i] = i, name
		account[i], blocked[i] = readAccount(call('HGET', ledger, name))
		checkLimit(i)
	end
	return i
end

-- accountsOf returns the places of the accounts of a set of a tenant's levels, each with its
-- limits, that exist and have serials up to newest; then the set of these levels, and the
-- largest serial. It returns nil if one is damaged. A hold that is restored, and was made at
-- the time restored, doesn't count in limits that began later, nor in limits with larger serials
-- than these; but it counts in all limits that are older than an account of its levels, since it
-- counts in each of those accounts. When a limit began is unknown once it has dropped an epoch.
accountsOf = function(tenant, levels, newest, restored)
	local found, part, last, bit, name, base, later = {}, 0, 0, 1, tenant, 0, {}
	local function add(name)
		local i = placeOf(name)
		local a = account[i]
		if blocked[i] == $CODE_CORRUPT then
			found = nil
		elseif a and a[$SERIAL] <= newest then
			local w = restored and byte(name, 2) <= $LAST_PERIOD and a[$WINDOW]
			if w and #w[$KEPT] < 3 and (w[$KEPT][#w[$KEPT]] or w[$START]) > restored then
				later[#later + 1] = a[$SERIAL]
			end
			found[#found + 1], last = i, math.max(last, a[$SERIAL])
			return a
		end
	end
	repeat
		local a = levels % (2 * bit) >= bit and add('a' .. tenant)
		if a then
			part, base = part + bit, math.max(base, a[$SERIAL])
			local limits, period = a[$LIMITS] or 0, 1
			while found and limits > 0 do
				if limits % 2 == 1 then
					add('a' .. string.char(period) .. tenant)
				end
				limits, period = (limits - limits % 2) / 2, period + 1
			end
		end
		tenant, bit = tenant:match('^(.+)/'), 2 * bit
	until not found or not tenant
	local oldest = newest + 1
	for n = 1, #later do
		oldest = later[n] > base and math.min(oldest, later[n]) or oldest
	end
	if found and oldest <= newest then
		return accountsOf(name, levels, oldest - 1)
	end
	return found, part, last
end
