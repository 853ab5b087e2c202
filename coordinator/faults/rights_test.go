//go:build faults

package faults

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A right is taken away while nodes are at work: callers get one clear error, nothing is
// half-written, doctor reports the same, and everything recovers when the right is back.
func TestRightTakenAway(t *testing.T) {
	t.Parallel()
	doctor := build(t)
	for _, right := range []string{"zadd", "hset", "evalsha", "hmget"} {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithConfig("user default on nopass ~* &* +@all"), redistest.WithUser("admin", "secret", "~*", "&*", "+@all"))
			opts := server.Options()
			opts.Username, opts.Password = "admin", "secret"
			admin := newClient(t, opts)
			f := start(t, admin, 2, workload{Addrs: []string{server.Addr()}, Timeout: 2 * time.Second})
			f.awaitCommits(100)
			if f.inFlight() == 0 {
				t.Error("no operation was in flight")
			}
			must(t, admin.Do(t.Context(), "acl", "setuser", "default", "-"+right).Err())
			refused := func(e event) bool {
				return strings.Contains(e.Text, "NOPERM") || strings.Contains(e.Text, "can't run this command") || strings.Contains(e.Text, "ACL failure")
			}
			f.await("refusals", 10*time.Second, func() bool { return f.workers[0].count(refused) > 5 && f.workers[1].count(refused) > 5 })
			out, err := doctor(server)
			if err == nil || !strings.Contains(strings.ToLower(out), right) {
				t.Errorf("doctor: %v\n%s", err, out)
			}
			must(t, admin.Do(t.Context(), "acl", "setuser", "default", "+"+right).Err())
			f.awaitCommits(100)
			f.stop()
			for _, p := range f.workers {
				for _, e := range p.events {
					if refused(e) && (!strings.Contains(e.Text, "ACL SETUSER") || strings.Contains(e.Text, "does not answer")) {
						t.Fatalf("no remedy: %s", e.Text)
					}
				}
			}
			f.check(admin, nothingLost)
		})
	}
}

// An eviction policy that deletes is rejected at the start, by nodes and by doctor.
func TestEvictionPolicy(t *testing.T) {
	t.Parallel()
	doctor := build(t)
	server := redistest.Start(t, redistest.WithConfig("maxmemory-policy allkeys-lru"))
	_, err := coordinator.New(t.Context(), server.Client(), coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	if err == nil || !strings.Contains(err.Error(), "allkeys-lru") || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("New: %v", err)
	}
	if out, err := doctor(server); err == nil || !strings.Contains(out, "allkeys-lru") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

// build builds the command, and returns a function that runs its doctor.
func build(t *testing.T) func(server *redistest.Server) (string, error) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bursar")
	if out, err := exec.Command("go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(server *redistest.Server) (string, error) {
		cmd := exec.Command(binary, "doctor")
		cmd.Env = append(os.Environ(), "BURSAR_REDIS_URL="+server.URL())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}
