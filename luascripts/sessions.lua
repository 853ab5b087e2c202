-- sessions: every batch takes effect once (PROTOCOL.md, S1 to S10).
--
-- A node's field s<node> is "last digest time" of the last batch that it had
-- applied (digest 0: none yet; -: closed), and r<node> the reply of that batch. They are
-- written by the same HSET as the batch's money, so they say exactly what took
-- effect.
--
-- Invariant: batch n takes effect only where the last one was prev, and moves
-- last to n. So it takes effect once, whatever is lost, delayed or repeated.

-- refuseSession says what to answer where the last batch is not prev.
local function refuseSession(books, session, node, number, digest)
	if not session then
		return 'NOSESSION'
	end
	local last, lastDigest = session:match('^(%d+) ([%x-]+) %d+$')
	if not last then
		return 'CORRUPT s' .. node
	end
	if last == number then
		if lastDigest == digest then
			return redis.call('HGET', books, 'r' .. node)
		end
		return 'CLONED'
	end
	if last + 0 > number + 0 then
		return 'STALE ' .. last
	end
	return 'GAP ' .. last .. ' ' .. lastDigest .. ' ' .. (redis.call('HGET', books, 'r' .. node) or '')
end
