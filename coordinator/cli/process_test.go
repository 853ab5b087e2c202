package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// unread runs the command with its output to a pipe without a reader. It returns the state
// of its process, which a signal may have ended, and its stderr.
func unread(t *testing.T, args ...string) (*os.ProcessState, string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	var stderr strings.Builder
	command := exec.Command("bursar", args...)
	command.Stdout, command.Stderr = writer, &stderr
	if err := command.Run(); command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState, stderr.String()
}

// A change is reported even if the output is a pipe without a reader, as on a full disk.
func TestChangesWithAClosedOutput(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	address, lastID := "redis://"+server.Addr(), ""
	for _, c := range []struct{ command, want string }{
		{"tenant ensure --redis URL acme $10", `acme is created with \$10\.00`},
		{"tenant grant --redis URL acme $10", `\$10\.00 was granted`},
		{"tenant withdraw --redis URL --json acme $1", `\$1\.00 was withdrawn`},
		{"reserve --redis URL acme 50c", `\$0\.50 of acme is held as acme\.[0-9a-f]{32}`},
		{"reserve --redis URL --json acme 50c", `\$0\.50 of acme is held as acme\.[0-9a-f]{32}`},
		{"commit --redis URL ID 12c", `acme\.[0-9a-f]{32} is committed`},
		{"reserve --redis URL acme 50c", `\$0\.50 of acme is held as acme\.[0-9a-f]{32}`},
		{"release --redis URL ID", `acme\.[0-9a-f]{32} is released`},
		{"holds release --redis URL --tenant acme --yes", `1 of 1 hold released`},
		{"tenant set --redis URL acme --cap-holds 5", `the settings of acme are changed`},
		{"tenant freeze --redis URL acme", `acme is frozen`},
		{"tenant unfreeze --redis URL --json acme", `acme is no longer frozen`},
		{"tenant close --redis URL --yes acme", `acme is closed`},
	} {
		words := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(c.command, "URL", address), "ID", lastID))
		state, stderr := unread(t, words...)
		want := regexp.MustCompile(`^bursar: ` + c.want + `, but the output could not be written: .*broken pipe\n$`)
		if state.ExitCode() != exit.Refused || !want.MatchString(stderr) {
			t.Errorf("%s: %s, %q", c.command, state, stderr)
		}
		if id := regexp.MustCompile(`acme\.[0-9a-f]{32}`).FindString(stderr); id != "" {
			lastID = id
		}
	}
}

// Like other tools, a command that only prints fails silently if its output has no reader.
func TestListsWithAClosedOutput(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes"))
	node := newNode(t, server)
	if _, err := node.EnsureTenant(t.Context(), "acme", budget.Dollar); err != nil {
		t.Fatal(err)
	}
	if r, err := node.TryReserve(t.Context(), "acme", budget.Cent); err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	for _, command := range []string{
		"tenant list", "tenant list --json", "holds list", "holds list --json", "verify", "verify --json",
		"doctor", "doctor --json", "version", "version --json", "completion bash", "completion fish",
	} {
		words := strings.Fields(command)
		if words[0] != "version" && words[0] != "completion" {
			words = append(words, "--redis", "redis://"+server.Addr())
		}
		if state, stderr := unread(t, words...); state.ExitCode() != exit.Refused || stderr != "" {
			t.Errorf("%s: %s, %q", command, state, stderr)
		}
	}
}

// silence pauses the server when a command sends the word for the nth time, sends the
// command a signal, and returns its final state and stderr.
func silence(t *testing.T, server *redistest.Server, sig os.Signal, word string, nth int64, args ...string) (state *os.ProcessState, stderr string) {
	t.Helper()
	silent := make(chan struct{})
	proxy := interpose(t, server.Addr(), "\r\n"+word+"\r\n", func(n int64) bool {
		if n == nth {
			if err := server.Pause(); err != nil {
				t.Error(err)
			}
			close(silent)
		}
		return true
	})
	defer func() {
		if err := server.Resume(); err != nil {
			t.Error(err)
		}
	}()
	var printed strings.Builder
	name := "bursar"
	if sig == syscall.SIGHUP {
		name = "bursar-on-terminal" // the test may run under nohup
	}
	command := exec.Command(name, args...)
	command.Env, command.Stderr = append(os.Environ(), "BURSAR_REDIS_URL="+proxy.url()), &printed
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	select {
	case <-silent:
	case <-ended:
		t.Fatalf("%v: %s before %q: %s", args, command.ProcessState, word, &printed)
	}
	began := time.Now()
	if err := command.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	<-ended
	const atOnce = 5 * time.Second // on a busy machine; --timeout is 10 s
	if took := time.Since(began); took > atOnce {
		t.Errorf("%v, %s at %q: it continued for %s", args, sig, word, took)
	}
	return command.ProcessState, printed.String()
}

// A command that waits for a paused Redis ends at once on a signal, with the code for an
// unavailable Redis.
func TestSignalsWhileRedisIsSilent(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes"))
	node := newNode(t, server)
	if _, err := node.EnsureTenant(t.Context(), "acme", budget.Dollar); err != nil {
		t.Fatal(err)
	}
	held, err := node.TryReserve(t.Context(), "acme", budget.Cent)
	if err != nil || held.Err() != nil {
		t.Fatal(held, err)
	}
	id, file := held.ID.String(), filepath.Join(t.TempDir(), "trace.jsonl")
	if err := os.WriteFile(file, []byte(`{"op":"ensure","tenant":"acme","budget":100}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		signal syscall.Signal
		word   string // at which Redis is paused
		nth    int64
		args   string
	}{
		{syscall.SIGTERM, "hello", 1, "doctor"},
		{syscall.SIGTERM, "hello", 1, "verify"},
		{syscall.SIGTERM, "hello", 1, "tenant list"},
		{syscall.SIGTERM, "hello", 1, "tenant show acme"},
		{syscall.SIGTERM, "hello", 1, "tenant ensure globex $1"},
		{syscall.SIGTERM, "hello", 1, "tenant watch acme"},
		{syscall.SIGTERM, "hello", 1, "holds list"},
		{syscall.SIGTERM, "hello", 1, "holds release --tenant acme --yes"},
		{syscall.SIGTERM, "hello", 1, "reserve acme 1c"},
		{syscall.SIGTERM, "hello", 1, "commit " + id + " 1c"},
		{syscall.SIGTERM, "hello", 1, "lookup " + id},
		{syscall.SIGTERM, "hello", 1, "replay " + file},
		{syscall.SIGTERM, "hello", 1, "bench"},
		{syscall.SIGTERM, "hello", 1, "bench --processes"},
		{syscall.SIGTERM, "hello", 1, "bench sweep --over nodes"},
		{syscall.SIGINT, "hello", 1, "reserve acme 1c"},
		{syscall.SIGHUP, "hello", 1, "reserve acme 1c"},
		{syscall.SIGINT, "hello", 1, "verify"},
		{syscall.SIGHUP, "hello", 1, "verify"},
		// At later commands.
		{syscall.SIGTERM, "info", 1, "doctor"},
		{syscall.SIGTERM, "hlen", 1, "verify"},
		{syscall.SIGTERM, "hscan", 1, "tenant list"},
		{syscall.SIGTERM, "evalsha", 3, "verify"},
		{syscall.SIGTERM, "hget", 1, "inspect acme"},
		{syscall.SIGTERM, "hscan", 1, "holds list"},
		{syscall.SIGTERM, "evalsha", 1, "tenant show acme"},
		{syscall.SIGTERM, "evalsha", 1, "tenant grant acme 1c"},
		{syscall.SIGTERM, "evalsha", 1, "tenant watch acme"},
		{syscall.SIGTERM, "evalsha", 1, "tenant delete acme"},
		{syscall.SIGTERM, "evalsha", 1, "reserve acme 1c"},
		{syscall.SIGTERM, "evalsha", 2, "reserve acme 1c"},
		{syscall.SIGINT, "evalsha", 2, "commit " + id + " 1c"},
		{syscall.SIGTERM, "evalsha", 1, "replay " + file},
		{syscall.SIGTERM, "evalsha", 1, "bench --duration 1h"},
		{syscall.SIGTERM, "evalsha", 3000, "bench --duration 1h --tenants 4"},
		{syscall.SIGTERM, "evalsha", 3000, "bench --duration 1h --tenants 4 --processes --nodes 2"},
		{syscall.SIGTERM, "evalsha", 3000, "bench --duration 1h --tenants 4 --nodes 1 --baselines all"},
	} {
		state, stderr := silence(t, server, c.signal, c.word, c.nth, strings.Fields(c.args)...)
		if state.ExitCode() != exit.Unavailable || !strings.Contains(stderr, "interrupted") && !strings.Contains(stderr, "unknown") {
			t.Errorf("%s, %s at %q: %s, %q", c.args, c.signal, c.word, state, stderr)
		}
		t.Logf("%s, %s at %q: %s", c.args, c.signal, c.word, stderr)
	}
}
