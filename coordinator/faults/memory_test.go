//go:build faults

package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/redistest"
)

// maxmemory is reached under load: reserves are refused, each with a clear error, and
// commits and releases land. No operation that took effect is answered as refused, even
// if a reply was lost and the repeat met the full memory.
func TestMaxmemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := interpose(t, server.Addr())
	f := start(t, server.Client(), 2, workload{Addrs: []string{p.addr()}, Timeout: 300 * time.Millisecond})
	admin := server.Client()
	for range 3 {
		f.awaitCommits(100)
		p.fault.Store(int32(loseReply)) // executed, and then repeated when memory is full
		f.awaitUnknown()
		must(t, admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
		time.Sleep(20 * time.Millisecond)
		p.fault.Store(int32(healthy))
		refused := func(e event) bool { return e.Op == "reserve" && e.Failure == "memory" }
		before := f.count(refused)
		f.await("refused reserves", 10*time.Second, func() bool { return f.count(refused) > before+20 })
		must(t, admin.ConfigSet(t.Context(), "maxmemory", "0").Err())
	}
	f.awaitCommits(100)
	f.stop()
	for _, w := range f.workers {
		for _, e := range w.events {
			if e.Failure == "memory" && (e.Op != "reserve" || !strings.Contains(e.Text, "maxmemory")) {
				t.Fatalf("%s: %s", e.Op, e.Text)
			}
		}
	}
	f.check(server.Client(), nothingLost)
}
