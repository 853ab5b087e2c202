-- ledger: the records of a partition and the arithmetic on its amounts.
-- defines: names of library functions, plus, minus, refusePartition, clockTime
--
-- A partition is a hash, the ledger, and a sorted set, the timers (member: due time
-- in Unix ms). Records are binary, big-endian, and have a fixed part and a tail:
--
--   f              "layout partitions index incarnation", text, never changed
--   c              control: time, next due, sequence, last serial, ring head, ring
--                  tail (48 bits each), tombstones in the ring (32), endings head (48)
--   a<tenant>      account: granted, remaining, reserved, committed (64 bits each),
--                  open holds (32), serial, earliest deadline of the older and of the
--                  younger ones (48 each), older ones (32), sequence up to which they
--                  were made (48), flags (8), tail: if flag 4 is set, the settings: overdraft,
--                  cap of a hold, of the reserved amount (64 each), of the holds (32), number
--                  of thresholds (8), these (16 each); if flag 8 is set, the window: period,
--                  first day (8 each), carry-over, amount of an epoch (64 each), start of the
--                  current epoch, time from which boundaries are missing (48 each), reserved
--                  in ended epochs (64), zone's length, number of boundaries (8 each) and of
--                  kept epochs (16), zone, these (48 each; of the epochs the starts, newest
--                  first), and if it rolls, the committed amounts of its parts (64 each, the
--                  oldest first), of which the last one begins at the time from which boundaries
--                  are missing. Granted may be below 0 only with a window. If flag 16 is set,
--                  the periods of further limits end the record, as a set (8): bit n - 1 is
--                  that of period n
--   a<period><tenant>
--                  further limit of the tenant, as an account (period: one byte, 1 to 7). It
--                  exists only with the tenant's account, which names it
--   p<start><tenant>, p<start><period><tenant>
--                  ended epoch (start: 48 bits): granted, remaining, reserved, committed, moved
--                  to the current epoch (64 each), end (48)
--   h<id>          open hold: o, held (64), account serial, sequence, made, deadline
--                  (48 each), levels (8), tenant
--                  tombstone: c, l or x, held (64), account serial, sequence, made,
--                  ended, sequence of its end (48 each), actual (64), levels, tenant.
--                  Levels are the set of the accounts that were debited: bit 0 the
--                  tenant's, bit 1 its parent's, and so on; and those of their further limits
--                  whose serials are not larger than the hold's. If there are others than the
--                  tenant's, the serial is the largest of theirs + 2^47
--   s<node>        session: state, number (64), digest (64), time (48); in a repair
--                  also the last batch before it (64); the codes of the last batch, and
--                  the amounts (64 each) that its CommitAvailable operations charged
--   r<node>        the reply to the session's last batch
--   d<n>           ring record: time (48) and the fields of settled holds
--   e<n>           timed record: due time (48) and the fields of holds that a deadline
--                  or a repair ended
--
-- Timers: h<id>, s<node> and e<n>, and a sentinel with a score of +inf, which shows
-- that the set is whole. Times are Unix ms, 0 is none. The sequence counts batches.
--
-- An amount is a pair of 32-bit limbs, hi * 2^32 + lo with 0 <= lo < 2^32; hi carries
-- the sign. Invariant: each limb is an integer far below 2^53, exact in a double. No
-- amount is ever one Lua number.
--
-- Scripts build their functions at every call, and each captured local costs about
-- as much as the function. So files are blocks that share locals, and rare paths
-- build their functions when they are taken.
local call, pack, read, sub, format = redis.call, struct.pack, struct.unpack, string.sub, string.format

local function plus(ah, al, bh, bl)
	local hi, lo = ah + bh, al + bl
	if lo >= 4294967296 then
		return hi + 1, lo - 4294967296
	end
	return hi, lo
end

local function minus(ah, al, bh, bl)
	local hi, lo = ah - bh, al - bl
	if lo < 0 then
		return hi - 1, lo + 4294967296
	end
	return hi, lo
end

-- clockTime returns the partition's time: the server's, which is one instant for a
-- whole script, or the caller's clock in tests, and never earlier than before. A
-- node's own clock has no say.
local function clockTime(stored, clock)
	local now
	if clock ~= '' then
		now = clock + 0
	else
		local time = call('TIME')
		now = time[1] * 1000 + math.floor(time[2] / 1000)
	end
	return now > stored and now or stored
end

-- refusePartition returns why a partition's header is not the expected one.
local function refusePartition(header)
	if not header then
		return 'NOPARTITION'
	end
	local layout = header:match('^(%d+) ')
	if layout ~= $LAYOUT then
		return 'LAYOUT ' .. (layout or '?')
	end
	return 'INCARNATION ' .. header
end
