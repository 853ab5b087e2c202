-- page: reads a part of a ledger at one instant, for Holds and audits.
-- uses: ledger.lua
--
-- KEYS  1 ledger   2 timers
-- ARGV  1 the partition's header f   2 cursor   3 pattern of fields, or '' for none
--       4 about how many fields   5 first unread ring record, 6 first unread timed
--       record; -1 for the ones that come next
-- Reply a list: PAGE, control, cursor, unread ring record, unread timed record, 1 if
--       the timers are whole, the number of fields read, then those fields with their
--       records, then the holds that ended since the last page with theirs
-- or    BEHIND if records were dropped before they were read; NOPARTITION,
--       LAYOUT n, INCARNATION header
--
-- Invariant: it writes nothing. It is not declared so, since a replica would then run
-- it, and a replica may lag.
local ledger = KEYS[1]
local stored = call('HMGET', ledger, 'f', 'c')
if stored[1] ~= ARGV[1] then
	return { refusePartition(stored[1]) }
end
local control = stored[2] or ('\0'):rep($CONTROL_BYTES)
if #control < $CONTROL_BYTES then
	return { 'CORRUPT c' }
end
local _, _, _, _, ringHead, ringTail, _, endings = read($CONTROL, control)
local ring, timed = ARGV[5] + 0, ARGV[6] + 0
if ring < 0 then
	ring, timed = ringHead, endings
elseif ring < ringTail then
	return { 'BEHIND' }
end
local cursor, entries = ARGV[2], {}
if ARGV[3] ~= '' then
	local page = call('HSCAN', ledger, cursor, 'MATCH', ARGV[3], 'COUNT', ARGV[4])
	cursor, entries = page[1], page[2]
end
local reply = { 'PAGE', control, cursor, '', '', call('ZSCORE', KEYS[2], $SENTINEL) and '1' or '0', format('%d', #entries / 2) }
for i = 1, #entries do
	reply[#reply + 1] = entries[i]
end
-- ended appends the holds that a record names.
local function ended(record, first)
	local names = {}
	for at = first, record and #record or 0, 17 do
		names[#names + 1] = sub(record, at, at + 16)
	end
	if #names == 0 then
		return 0
	end
	local records = call('HMGET', ledger, unpack(names))
	for i = 1, #names do
		if records[i] then
			reply[#reply + 1], reply[#reply + 2] = names[i], records[i]
		end
	end
	return #names
end
local left = $PAGE_ENDINGS
while left > 0 and ring < ringHead do
	left = left - ended(call('HGET', ledger, 'd' .. pack('>I6', ring)), 7)
	ring = ring + 1
end
while left > 0 and timed < endings do
	local record = call('HGET', ledger, 'e' .. pack('>I6', timed))
	if not record then
		return { 'BEHIND' }
	end
	left = left - ended(record, 7)
	timed = timed + 1
end
reply[4], reply[5] = format('%d', ring), format('%d', timed)
return reply
