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
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 100 * time.Millisecond, Roll: true})
	for range 3 {
		f.awaitCommits(200)
		f.killInFlight(server)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitCommits(200)
	f.stop()
	f.check(server.Client(), nothingLost)
}
