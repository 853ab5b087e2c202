//go:build unix

package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestStartGivesAServerThatAnswers(t *testing.T) {
	t.Parallel()
	s := Start(t, WithConfig("maxmemory 5mb", "maxmemory-policy noeviction", "appendonly yes"))
	fromURL, err := redis.ParseURL(s.URL())
	check(t, err)
	if fromURL.Addr != s.Addr() || s.Options().Addr != s.Addr() {
		t.Fatalf("URL %s and Options %s do not lead to %s", fromURL.Addr, s.Options().Addr, s.Addr())
	}
	got, err := s.Client().ConfigGet(t.Context(), "m*memory").Result()
	check(t, err)
	if got["maxmemory"] != "5242880" {
		t.Errorf("maxmemory is %q, want the configured 5 MiB", got["maxmemory"])
	}
	if !strings.Contains(s.Log(), "Ready to accept connections") {
		t.Errorf("the log does not say that the server is ready:\n%s", s.Log())
	}
}

func TestPasswordAndUsers(t *testing.T) {
	t.Parallel()
	s := Start(t, WithPassword("secret"), WithUser("reader", "word", "~*", "+get"))
	check(t, s.Client().Set(t.Context(), "k", "v", 0).Err())

	stranger := s.Options()
	stranger.Password = ""
	if err := open(t, stranger).Get(t.Context(), "k").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without a password: %v, want NOAUTH", err)
	}
	reader := s.Options()
	reader.Username, reader.Password = "reader", "word"
	if got := open(t, reader).Get(t.Context(), "k"); got.Val() != "v" {
		t.Errorf("the reader's GET: %v", got)
	}
	if err := open(t, reader).Del(t.Context(), "k").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("the reader's DEL: %v, want NOPERM", err)
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config []string
		kept   int64
	}{
		"in memory":   {nil, 0},
		"append-only": {[]string{"appendonly yes", "appendfsync always"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, WithConfig(tc.config...))
			client, addr, pid := s.Client(), s.Addr(), s.PID()
			check(t, client.Set(t.Context(), "k", "v", 0).Err())
			s.Kill()
			s.Kill()
			if alive(pid) {
				t.Fatalf("process %d is alive after Kill", pid)
			}
			if err := s.Pause(); err == nil {
				t.Error("a dead server was paused")
			}
			check(t, s.Restart(t.Context()))
			if s.Addr() != addr || s.PID() == pid {
				t.Errorf("restarted as %s, process %d; was %s, process %d", s.Addr(), s.PID(), addr, pid)
			}
			if got, err := client.DBSize(t.Context()).Result(); err != nil || got != tc.kept {
				t.Errorf("%d keys after the restart (%v), want %d", got, err, tc.kept)
			}
		})
	}
}

func TestStopSaves(t *testing.T) {
	t.Parallel()
	s := Start(t, WithConfig("save 3600 1"))
	client := s.Client()
	check(t, client.Set(t.Context(), "k", "v", 0).Err())
	check(t, s.Stop())
	check(t, s.Stop())
	check(t, s.Restart(t.Context()))
	check(t, s.Restart(t.Context())) // while it runs
	if got := client.Get(t.Context(), "k"); got.Val() != "v" {
		t.Errorf("after Stop and Restart: %v", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	s := Start(t)
	client := s.Client()
	check(t, client.Set(t.Context(), "k", 0, 0).Err())
	check(t, s.Pause())
	answer := make(chan error)
	go func() { answer <- client.Incr(t.Context(), "k").Err() }()
	check(t, await(t.Context(), "the paused process to stop", func() error {
		if state := processState(s.PID()); state != "T" {
			return fmt.Errorf("it is in state %q, want T", state)
		}
		return nil
	}))
	check(t, s.Resume())
	check(t, <-answer)
	check(t, s.Pause())
	check(t, s.Stop()) // must not wait forever
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(*Server) error{
		"running": func(*Server) error { return nil },
		"paused":  (*Server).Pause,
		"killed":  func(s *Server) error { s.Kill(); return nil },
		"stopped": (*Server).Stop,
		"saving":  func(s *Server) error { return s.Client().BgSave(t.Context()).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Spawn(t.Context(), WithConfig("rdb-key-save-delay 60000000"))
			check(t, err)
			t.Cleanup(func() { check(t, s.Close()) })
			client := s.Client()
			check(t, client.Set(t.Context(), "k", "v", 0).Err())
			check(t, last(s))
			reaper := s.reaper.cmd.Process.Pid
			check(t, s.Close())
			expectNoTrace(t, s)
			if alive(reaper) {
				t.Errorf("the reaper, process %d, is alive after Close", reaper)
			}
			if err := client.Ping(t.Context()).Err(); !errors.Is(err, redis.ErrClosed) {
				t.Errorf("PING on a client of a closed server: %v", err)
			}
			if err := s.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Errorf("Restart after Close: %v", err)
			}
		})
	}
}

func TestCrashIsReported(t *testing.T) {
	t.Parallel()
	s, err := Spawn(t.Context(), WithConfig("rdb-key-save-delay 60000000"))
	check(t, err)
	client := s.Client()
	check(t, client.Set(t.Context(), "k", "v", 0).Err())
	check(t, client.BgSave(t.Context()).Err()) // the child that writes it must not survive
	check(t, syscall.Kill(s.PID(), syscall.SIGKILL))
	<-s.current().exited
	err = s.Close()
	if err == nil || !strings.Contains(err.Error(), "crashed") || !strings.Contains(err.Error(), "Ready to accept") {
		t.Errorf("Close after a crash: %v; want the crash and the log", err)
	}
	expectNoTrace(t, s)
}

func TestBadConfigurationIsExplained(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opt  Option
		want string
	}{
		"unknown directive":   {WithConfig("gold-standard yes"), "gold-standard"},
		"password of words":   {WithPassword("two words"), "two words"},
		"user without a name": {WithUser("", "word"), "user name"},
		"no masters":          {WithMasters(0), "0 masters"},
		"too many replicas":   {WithReplicas(5), "5 replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Spawn(t.Context(), tc.opt)
			if err == nil {
				t.Fatalf("it started: %v", s.Close())
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want it to name %q", err, tc.want)
			}
		})
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	var ports []int
	set, err := newSettings([]Option{WithConfig("gold-standard yes")})
	check(t, err)
	set.ports = func() (int, error) {
		port, err := takePort()
		ports = append(ports, port)
		return port, err
	}
	if s, err := spawn(t.Context(), set, role{name: "redis-server"}); err == nil {
		t.Fatalf("it started: %v", s.Close())
	}
	if len(ports) != 1 {
		t.Errorf("%d ports were tried with a bad configuration, want 1", len(ports))
	}
	takenPorts.Lock()
	defer takenPorts.Unlock()
	if takenPorts.reservations[ports[0]] != nil {
		t.Errorf("port %d is still marked as taken", ports[0])
	}
}

func TestPortTakenAfterItWasChosen(t *testing.T) {
	t.Parallel()
	other := Start(t)
	for name, r := range map[string]role{
		"port":     {name: "redis-server"},
		"bus port": {name: "cluster node", needsBus: true, config: []string{"cluster-enabled yes"}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := newSettings(nil)
			check(t, err)
			calls := 0
			set.ports = func() (int, error) {
				calls++
				if r.needsBus == (calls == 2) && calls <= 2 {
					return other.port, nil
				}
				return takePort()
			}
			s, err := spawn(t.Context(), set, r)
			check(t, err)
			t.Cleanup(func() { check(t, s.Close()) })
			if s.port == other.port || s.busPort == other.port || calls < 2 {
				t.Errorf("after %d choices on %d and %d; %d was taken by another process", calls, s.port, s.busPort, other.port)
			}
			check(t, s.Client().Ping(t.Context()).Err())
		})
	}
}

// TestPackageDoesNotImportTesting keeps the flags and the code of package testing out of
// the command, which imports redistest.
func TestPackageDoesNotImportTesting(t *testing.T) {
	t.Parallel()
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	check(t, err)
	for _, dep := range strings.Fields(string(deps)) {
		if dep == "testing" {
			t.Error("the package imports testing")
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, options *redis.Options) *redis.Client {
	client := redis.NewClient(options)
	t.Cleanup(func() { check(t, client.Close()) })
	return client
}

// expectNoTrace checks that a closed server has left no process, folder or port behind.
func expectNoTrace(t *testing.T, s *Server) {
	t.Helper()
	if alive(s.PID()) {
		t.Errorf("process %d is alive", s.PID())
	}
	// The process that adopts an orphaned snapshot child may take a moment to reap it.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	check(t, await(ctx, "the end of the process group", func() error { return groupEmpty(s.PID()) }))
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder %s exists (%v)", s.dir, err)
	}
	if !portFree(s.port) {
		t.Errorf("the port %d is not free", s.port)
	}
}

// alive reports whether the process exists and isn't a zombie.
func alive(pid int) bool {
	return syscall.Kill(pid, 0) == nil && processState(pid) != "Z"
}

func processState(pid int) string {
	out, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))[:1]
}

func groupEmpty(leader int) error {
	out, err := exec.Command("ps", "-eo", "pgid=,state=,args=").Output()
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if fields[0] == strconv.Itoa(leader) && fields[1] != "Z" {
			return fmt.Errorf("it has a member: %s", line)
		}
	}
	return nil
}

func TestLauncherRunsTheServer(t *testing.T) {
	t.Parallel()
	s := Start(t, WithLauncher("sh", "-c", `touch launched; exec "$0" "$@"`))
	check(t, s.Client().Ping(t.Context()).Err())
	if _, err := os.Stat(s.path("launched")); err != nil {
		t.Errorf("the launcher left nothing in the server's folder: %v", err)
	}
}
