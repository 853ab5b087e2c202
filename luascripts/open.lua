-- open: opens a node's session in a partition, or returns it as it is.
-- uses: ledger.lua
--
-- KEYS  1 ledger
-- ARGV  1 node (8 bytes)   2 number that the session starts from (64 bits)
--       3 clock in Unix ms, decimal; '' for the server's
--       4 how the header must begin: "layout partitions index "
-- Reply OPEN, length of the session (16), the session, the header;
-- or    NOPARTITION, LAYOUT n, PARTITIONS header, CORRUPT field
--
-- Invariant: it moves no money and never changes a session that exists. It names one
-- key, so that an absent partition is answered while its slot migrates, too.
local ledger, field = KEYS[1], 's' .. ARGV[1]
local stored = call('HMGET', ledger, 'f', 'c', field)
local header, control, session = stored[1], stored[2], stored[3]
if not header then
	return refusePartition(header)
elseif sub(header, 1, #ARGV[4]) ~= ARGV[4] then
	local refusal = refusePartition(header)
	return sub(refusal, 1, 6) == 'LAYOUT' and refusal or 'PARTITIONS ' .. header
elseif #(control or '') < $CONTROL_BYTES then
	return 'CORRUPT c'
elseif not session then
	local now = clockTime((read('>I6', control)), ARGV[3])
	session = $SESSION_NEW .. ARGV[2] .. '\0\0\0\0\0\0\0\0' .. pack('>I6', now)
	call('HSET', ledger, field, session)
elseif #session < $SESSION_BYTES then
	return 'CORRUPT ' .. field
end
return 'OPEN ' .. pack('>I2', #session) .. session .. header
