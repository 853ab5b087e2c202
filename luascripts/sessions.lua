-- sessions: every batch takes effect once (PROTOCOL.md, S1 to S10).
--
-- A node's field s<node> is "last digest time" of the last batch that it had
-- applied, and r<node> the reply of that batch. They are written by the same
-- HSET as the batch's money, so they say exactly what took effect.
--
-- Invariant: batch n takes effect only where the last one was prev, and moves
-- last to n. So it takes effect once, whatever is lost, delayed or repeated.
local SESSION_RETENTION = 604800000

-- admit returns nil where the batch is next, else what to answer instead.
local function admit(books, session, node, prev, number, digest)
	if not session then
		return 'NOSESSION'
	end
	local last, lastDigest = match(session, '^(%d+) (%x+) %d+$')
	if not last then
		return 'CORRUPT s' .. node
	end
	if last == number then
		if lastDigest == digest then
			return redis.call('HGET', books, 'r' .. node)
		end
		return 'CLONED'
	end
	if tonumber(last) > tonumber(number) then
		return 'STALE ' .. last
	end
	if last ~= prev then
		return 'GAP ' .. last .. ' ' .. lastDigest .. ' ' .. (redis.call('HGET', books, 'r' .. node) or '')
	end
	return nil
end

-- renewSessions looks at sessions whose timer is due: one in use gets a later
-- timer, one unused for the retention goes, reply and all. own is the field of
-- the session that this script writes, which is in use by that.
local function renewSessions(family, endings, add, own)
	local sessions = endings.sessions or {}
	for i = 1, #sessions, 2 do
		local field, value = sessions[i], sessions[i + 1]
		local seen = field == own and family.now or tonumber(match(value, ' (%d+)$') or '0')
		if seen + SESSION_RETENTION > family.now then
			add[#add + 1] = format('%.0f', seen + SESSION_RETENTION)
			add[#add + 1] = field
		else
			endings.dropped[#endings.dropped + 1] = { field, 'r' .. sub(field, 2) }
			endings.timers[#endings.timers + 1] = field
		end
	end
end
