//go:build faults

package faults

import (
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/redistest"
)

// With appendfsync always a kill -9 loses no acknowledged write.
func TestKilledRedisWithAOF(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Patience: 100 * time.Millisecond})
	for range 3 {
		f.answered(200)
		server.Kill()
		f.hurts()
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.answered(200)
	f.stop()
	f.check(server.Client(), nothingLost)
}
