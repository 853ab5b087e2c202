//go:build faults

package faults

import (
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/redistest"
)

// Each network fault alone, repeatedly, and then late duplicates of old batches: every
// operation takes effect once, and its caller can find out the outcome.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]netFault{
		"reply lost": loseReply, "reset before": resetBefore, "reset in the middle": resetMiddle,
		"reply too late": delayReply, "late duplicates": repeatLater, "stalled": stall,
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			p := interpose(t, server.Addr())
			f := start(t, server.Client(), 2, workload{Addrs: []string{p.addr()}, Timeout: 150 * time.Millisecond, Roll: true})
			inFlight := 0
			for range 4 {
				f.awaitCommits(100)
				p.fault.Store(int32(fault))
				time.Sleep(250 * time.Millisecond)
				inFlight += f.inFlight()
				p.fault.Store(int32(healthy))
				p.redeliver()
			}
			f.awaitCommits(100)
			f.stop()
			p.redeliver()
			if inFlight == 0 || fault != stall && p.hits.Load() == 0 {
				t.Errorf("%d in flight, %d batches hit by the fault: it tested nothing", inFlight, p.hits.Load())
			}
			if fault != repeatLater && f.unknown() == 0 {
				t.Error("no outcome was unknown: the fault tested nothing")
			}
			t.Logf("%d batches hit by the fault, %d outcomes unknown to callers", p.hits.Load(), f.unknown())
			f.check(server.Client(), nothingLost)
		})
	}
}
