-- page: reads a part of a ledger at one instant, for Holds and audits.
-- uses: ledger.lua
--
-- KEYS  1 ledger   2 timers
-- ARGV  1 the partition's header f, '' if it has none
--       2 cursor   3 pattern of fields, '' for none   4 about how many fields
--       5 first unread ring record, 6 first unread timed record; -1 for the next ones
--       7 the only tenant whose holds are wanted, with those of tenants below it; '' for all
--       8 1 to look up timers
--       9 and on: fields to read by name
-- Reply a list: PAGE, control ('' if there is none), cursor, unread ring record, unread
--       timed record, 1 if the timers are whole, the time of the first timer ('' if it
--       is a session's), then three lists: the fields that were read with their records,
--       the open holds among them without a timer, and the holds that ended since the
--       last page with their records
-- or    BEHIND if records of ended holds were dropped before they were read;
--       NOPARTITION, LAYOUT n, INCARNATION header
--
-- Invariant: it writes nothing. It isn't declared as read-only: a replica would run it
-- then, and a replica may lag. A page costs about as much as reading 700 fields.
local ledger, timers, tenant = KEYS[1], KEYS[2], ARGV[7]
local stored = call('HMGET', ledger, 'f', 'c')
if (stored[1] or '') ~= ARGV[1] then
	return { refusePartition(stored[1]) }
end
local control, ringHead, endings, _ = stored[2] or '', 0, 0, nil
if #control >= $CONTROL_BYTES then
	_, _, _, _, ringHead, _, _, endings = read($CONTROL, control)
end
local ring, timed = ARGV[5] + 0, ARGV[6] + 0
if ring < 0 then
	ring, timed = ringHead, endings
end

local ended, left = {}, $PAGE_ENDINGS
-- readEndings appends the holds that records from next on name; it returns the next
-- unread record, or nil if one was dropped.
local function readEndings(kind, next, head)
	while left > 0 and next < head do
		local fields = {}
		for n = next, math.min(next + 99, head - 1) do
			fields[#fields + 1] = kind .. pack('>I6', n)
		end
		local records, holds, size = call('HMGET', ledger, unpack(fields)), {}, 0
		for i = 1, #fields do
			local record = records[i]
			if left <= 0 then
				break
			elseif not record then
				return nil
			end
			for at = 7, #record, 17 do
				size = size + 1
				holds[size] = sub(record, at, at + 16)
			end
			next, left = next + 1, left - 1 - math.floor(#record / 17)
		end
		records = size > 0 and call('HMGET', ledger, unpack(holds)) or {}
		for i = 1, size do
			if records[i] then
				ended[#ended + 1], ended[#ended + 2] = holds[i], records[i]
			end
		end
	end
	return next
end
ring = readEndings('d', ring, ringHead)
timed = ring and readEndings('e', timed, endings)
if not timed then
	return { 'BEHIND' }
end

-- The more holds have ended, the fewer fields are scanned.
local cursor, entries = ARGV[2], {}
if ARGV[3] ~= '' then
	local page = call('HSCAN', ledger, cursor, 'MATCH', ARGV[3], 'COUNT', math.ceil(ARGV[4] * math.max(left / $PAGE_ENDINGS, 0.05)))
	cursor, entries = page[1], page[2]
end
if #ARGV > 8 then
	local records = call('HMGET', ledger, unpack(ARGV, 9))
	for i = 1, #records do
		if records[i] then
			entries[#entries + 1], entries[#entries + 2] = ARGV[8 + i], records[i]
		end
	end
end

local function isOpen(record)
	return record:byte() == $IS_OPEN and #record >= $HOLD_BYTES
end

-- ofTenant returns the holds of the tenant and of those below it, or all if none is given.
local function ofTenant(pairs)
	if tenant == '' then
		return pairs
	end
	local kept, size, below = {}, 0, tenant .. '/'
	for i = 1, #pairs, 2 do
		local field, record = pairs[i], pairs[i + 1]
		local from = (isOpen(record) and $HOLD_BYTES or $TOMBSTONE_BYTES) + 1
		if field:byte() ~= $IS_HOLD or sub(record, from) == tenant or sub(record, from, from + #tenant) == below then
			kept[size + 1], kept[size + 2] = field, record
			size = size + 2
		end
	end
	return kept
end
entries = ofTenant(entries)

-- A set of another type counts as missing.
local sentinel = redis.pcall('ZSCORE', timers, $SENTINEL)
local whole, first, untimed = type(sentinel) == 'string', '', {}

-- checkTimers finds the first timer and the open holds of the page that have none.
local function checkTimers()
	local one = call('ZRANGE', timers, 0, 0, 'WITHSCORES')
	local kind = one[1]:byte()
	first = (kind == $IS_HOLD or kind == $IS_ENDINGS) and one[2] or ''
	local names = {}
	for i = 1, #entries, 2 do
		local field, record = entries[i], entries[i + 1]
		if field:byte() == $IS_HOLD and isOpen(record) and sub(record, 28, 33) ~= '\0\0\0\0\0\0' then
			names[#names + 1] = field
		end
	end
	for from = 1, #names, 2000 do
		local scores = call('ZMSCORE', timers, unpack(names, from, math.min(from + 1999, #names)))
		for i = 1, #scores do
			if not scores[i] then
				untimed[#untimed + 1] = names[from + i - 1]
			end
		end
	end
end
if whole and ARGV[8] == '1' then
	checkTimers()
end

return { 'PAGE', control, cursor, format('%d', ring), format('%d', timed), whole and '1' or '0', first, entries, untimed, ofTenant(ended) }
