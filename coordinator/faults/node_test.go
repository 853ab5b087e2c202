//go:build faults

package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A node is killed between reserves and commits, and with batches in flight: its holds
// end at their deadlines, and nothing is counted twice.
func TestKilledNode(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := start(t, server.Client(), 3, workload{Addrs: []string{server.Addr()}, Callers: 40, Work: 5 * time.Millisecond, HoldTTL: 3 * time.Second})
	killed := 0
	for _, p := range f.workers[:2] {
		f.awaitCommits(200)
		p.kill()
		killed += len(p.begun)
	}
	if killed == 0 {
		t.Error("nothing was in flight when the nodes were killed")
	}
	f.awaitCommits(200)
	f.stop()
	open := 0
	for _, hold := range stored(t, server.Client()) {
		if hold.Open() {
			open++
		}
	}
	f.check(server.Client(), repaired) // the check of the order doesn't model expiry
	time.Sleep(3 * time.Second)
	f.nothingHeld(server)
	f.check(server.Client(), repaired)
	t.Logf("%d operations were in flight, %d holds were left and ended", killed, open)
	if open == 0 {
		t.Error("no hold was left behind: the fault tested nothing")
	}
}

// The holds of a dead node can be released before their deadlines, with the command.
func TestKilledNodeIsCleanedUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, LeaveOpen: 3})
	f.awaitCommits(200)
	for _, p := range f.workers {
		p.kill()
	}
	binary := filepath.Join(t.TempDir(), "bursar")
	if out, err := exec.Command("go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	release := exec.Command(binary, "holds", "release", "--older-than", "1ms", "--yes")
	release.Env = append(os.Environ(), "BURSAR_REDIS_URL="+server.URL())
	out, err := release.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "released "); n < 50 {
		t.Errorf("%d holds were released; want many", n)
	}
	f.nothingHeld(server)
	checkBalances(t, server.Client(), f.load.Tenants)
}

// nothingHeld reads each tenant, which ends its due holds, and checks that none is left.
func (f *fleet) nothingHeld(server *redistest.Server) {
	f.t.Helper()
	c := f.node(server.Client())
	for _, tenant := range f.load.Tenants {
		if b, err := c.Balance(f.t.Context(), tenant); err != nil || b.Outcome != budget.Found || b.Reserved != 0 {
			f.t.Errorf("%s: %+v, %v; want nothing held", tenant, b, err)
		}
	}
}
