//go:build faults

package faults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
)

// The family's clock is moved by an hour under the nodes' feet, with the deadlines or
// without: its time never runs backwards, and no hold ends twice.
func TestClockMoved(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		for _, deadlines := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deadlines %t", by, deadlines), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, HoldTTL: 10 * time.Minute, LeaveOpen: 4, Patience: 5 * time.Second})
				f.answered(100)
				inFlight := f.inFlight()
				for _, tenant := range f.load.Tenants {
					moveClock(t, server.Client(), tenant, by, deadlines)
				}
				watched := make(map[budget.TenantID]int64)
				for range 50 {
					for _, tenant := range f.load.Tenants {
						at := familyTime(t, server.Client(), tenant)
						if at < watched[tenant] {
							t.Errorf("%s: time went from %d back to %d", tenant, watched[tenant], at)
						}
						watched[tenant] = at
					}
					time.Sleep(5 * time.Millisecond)
				}
				f.answered(100)
				f.stop()
				f.noFailure()
				if inFlight == 0 {
					t.Error("no operation was in flight")
				}
				if by < 0 && !deadlines {
					f.check(server.Client(), nothingLost) // nobody noticed
					return
				}
				// Holds have ended before their time, and how is no longer remembered.
				f.check(server.Client(), lost)
				f.settledOnce()
			})
		}
	}
}

// settledOnce: of all that were told that they settled a hold, it was one each.
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

func familyTime(t *testing.T, client *redis.Client, tenant budget.TenantID) int64 {
	t.Helper()
	at, err := client.HGet(t.Context(), layout.KeysOf(layout.DefaultPrefix, tenant).Books, "t").Int64()
	must(t, err)
	return at
}

// moveClock edits the family's time and, with them, the deadlines of its open holds,
// in one transaction, as nothing but a fault does.
const moveClockScript = `
local t = redis.call('HGET', KEYS[1], 't')
redis.call('HSET', KEYS[1], 't', ('%d'):format(t + ARGV[1]))
if ARGV[2] == '1' then
	local all = redis.call('HGETALL', KEYS[1])
	for i = 1, #all, 2 do
		local held, made, till = all[i + 1]:match('^(o%d+) (%d+) (%d+)$')
		if held and all[i]:sub(1, 1) == 'h' and till ~= '0' then
			redis.call('HSET', KEYS[1], all[i], held .. ' ' .. made .. ' ' .. ('%d'):format(till + ARGV[1]))
			redis.call('ZADD', KEYS[2], ('%d'):format(till + ARGV[1]), all[i])
		end
	end
	redis.call('HSET', KEYS[1], 'n', '1')
end
return redis.status_reply('OK')`

func moveClock(t *testing.T, client *redis.Client, tenant budget.TenantID, by time.Duration, deadlines bool) {
	t.Helper()
	keys := layout.KeysOf(layout.DefaultPrefix, tenant)
	with := strings.NewReplacer("true", "1", "false", "0").Replace(strconv.FormatBool(deadlines))
	must(t, client.Eval(t.Context(), moveClockScript, []string{keys.Books, keys.Timers}, by.Milliseconds(), with).Err())
}
