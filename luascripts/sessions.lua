-- sessions: every batch takes effect once (PROTOCOL.md, S1 to S10).
--
-- A node's field s<node> is "last digest time" of the last batch that it had
-- applied (digest 0: none yet; -: closed), and r<node> the reply of that batch. They are
-- written by the same HSET as the batch's money, so they say exactly what took
-- effect. While more of a repair follows, the digest has -<since> behind it: the last
-- batch that was there when it began.
--
-- Invariant: batch n takes effect only where the session is the very one that the
-- node was told of, and moves last to n. So it takes effect once, whatever is lost,
-- delayed or repeated. The time is part of it: a batch that a promoted replica had
-- not received may be applied there once more, by a late duplicate, and then other
-- things may follow from it; the node has to hear of that. For the same reason a
-- batch that is late takes no effect any more, and since a family's time never goes
-- back it never will.

-- refuseSession says what to answer where the last batch is not prev.
local function refuseSession(books, session, node, mark)
	local number, digest = mark:match('^(%d+) (%x+)$')
	if not session then
		return 'NOSESSION'
	end
	local last, lastDigest = session:match('^(%d+) ([%x-]+) %d+$')
	if not last then
		return 'CORRUPT s' .. node
	end
	if last == number then
		if lastDigest:match('^%x*') == digest then
			return redis.call('HGET', books, 'r' .. node)
		end
		return 'CLONED'
	end
	if last + 0 > number + 0 then
		return 'STALE ' .. last
	end
	return 'GAP ' .. session .. ' ' .. (redis.call('HGET', books, 'r' .. node) or '')
end

-- beyond reports whether the batch that made an id is beyond what its node's session
-- shows, so that this family never had it, and returns the session; nil where there
-- is none. An id is node 64, number 54 and index 10 bits, in hexadecimal after the h.
local function beyond(b, field)
	local name = 's' .. field:sub(2, 17)
	local session = redis.call('HGET', b.books, name)
	local last, digest = (session or ''):match('^(%d+) ([%x-]+) %d+$')
	local since = last and (digest:match('-(%d+)$') or last)
	if name == b.session and b.since ~= '' then
		since = b.since
	end
	-- Not an amount. Nodes count from 1; where an id made by hand has more than the 53 bits
	-- of a double, rounding leaves it above any number that a session can have come to.
	local number = tonumber(field:sub(18, 30), 16) * 4 + math.floor(tonumber(field:sub(31, 31), 16) / 4)
	return since and since + 0 < number, session
end
