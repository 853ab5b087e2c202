//go:build faults

package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// A partition's clock is moved by an hour while nodes use it, with or without the
// deadlines: its time never runs backwards, and no hold ends twice.
func TestClockMoved(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		for _, deadlines := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deadlines %t", by, deadlines), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, HoldTTL: 10 * time.Minute, LeaveOpen: 4, Timeout: 5 * time.Second})
				f.awaitCommits(100)
				inFlight := f.inFlight()
				all := inUse(t, server.Client())
				for _, keys := range all {
					moveClock(t, server.Client(), keys, by, deadlines)
				}
				watched := make(map[string]int64)
				for range 50 {
					for _, keys := range all {
						at := controlOf(t, server.Client(), keys.Ledger).Time
						if at < watched[keys.Ledger] {
							t.Errorf("%s: time went from %d back to %d", keys.Ledger, watched[keys.Ledger], at)
						}
						watched[keys.Ledger] = at
					}
					time.Sleep(5 * time.Millisecond)
				}
				f.awaitCommits(100)
				f.stop()
				f.noFailure()
				if inFlight == 0 {
					t.Error("no operation was in flight")
				}
				if by < 0 && !deadlines {
					f.check(server.Client(), nothingLost) // no node notices
					return
				}
				// Holds ended before their time, and their ends are forgotten.
				f.check(server.Client(), lost)
				f.settledOnce()
				expired := 0
				for _, hold := range stored(t, server.Client()) {
					if hold.State == luascripts.HoldExpired {
						expired++
					}
				}
				if early := (by > 0) != deadlines; early != (expired > 0) {
					t.Errorf("%d holds have ended at their deadlines", expired)
				}
			})
		}
	}
}

// settledOnce checks that no hold was settled successfully more than once.
func (f *fleet) settledOnce() {
	f.t.Helper()
	settled := make(map[budget.ReservationID]int)
	for _, p := range f.workers {
		for _, e := range p.events {
			if e.Op == "commit" && e.Outcome == budget.Committed || e.Op == "release" && e.Outcome == budget.Released {
				if settled[e.ID]++; settled[e.ID] > 1 {
					f.t.Errorf("%s was settled twice", e.ID)
				}
			}
		}
	}
}

// moveClockScript changes a partition's time and, with it, the deadlines of its open
// holds, in one transaction, as only a fault does.
const moveClockScript = `
local ledger, timers, by = KEYS[1], KEYS[2], tonumber(ARGV[1])
local function moved(record, at)
	local time = struct.unpack('>I6', record, at)
	if time > 0 then
		time = time + by
	end
	return record:sub(1, at - 1) .. struct.pack('>I6', time) .. record:sub(at + 6), time
end
local control = moved(redis.call('HGET', ledger, 'c'), 1)
if ARGV[2] == '1' then
	control = control:sub(1, 6) .. struct.pack('>I6', 1) .. control:sub(13) -- something may be due
	local all = redis.call('HGETALL', ledger)
	for i = 1, #all, 2 do
		local field, record = all[i], all[i + 1]
		local kind, ends = field:sub(1, 1), 0
		if kind == 'h' and record:sub(1, 1) == 'o' then
			record, ends = moved(record, 28)
		elseif kind == 'a' and #record > 1 then
			record = moved(record, 43)
			record = moved(record, 49)
		end
		redis.call('HSET', ledger, field, record)
		if ends > 0 then
			redis.call('ZADD', timers, ('%d'):format(ends), field)
		end
	end
end
redis.call('HSET', ledger, 'c', control)
return redis.status_reply('OK')`

func moveClock(t *testing.T, client *redis.Client, keys store.Keys, by time.Duration, deadlines bool) {
	t.Helper()
	must(t, client.Eval(t.Context(), moveClockScript, []string{keys.Ledger, keys.Timers}, by.Milliseconds(), deadlines).Err())
}
