package cli_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// unread runs the command with its output to a pipe that nobody reads, and returns the
// state of its process, which a signal may have ended, and its stderr.
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

// A change is reported although nobody reads the output, as on a full disk.
func TestChangesWithAClosedOutput(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	address, lastID := "redis://"+server.Addr(), ""
	for _, c := range []struct{ command, want string }{
		{"tenant ensure --redis URL acme $10", `acme is created with \$10\.00`},
		{"tenant grant --redis URL acme $10", `\$10\.00 were granted`},
		{"tenant withdraw --redis URL --json acme $1", `\$1\.00 were withdrawn`},
		{"reserve --redis URL acme 50c", `\$0\.50 of acme are held as acme\.[0-9a-f]{32}`},
		{"reserve --redis URL --json acme 50c", `\$0\.50 of acme are held as acme\.[0-9a-f]{32}`},
		{"commit --redis URL ID 12c", `acme\.[0-9a-f]{32} is committed`},
		{"reserve --redis URL acme 50c", `\$0\.50 of acme are held as acme\.[0-9a-f]{32}`},
		{"release --redis URL ID", `acme\.[0-9a-f]{32} is released`},
		{"holds release --redis URL --tenant acme --yes", `1 of 1 holds released`},
	} {
		words := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(c.command, "URL", address), "ID", lastID))
		state, stderr := unread(t, words...)
		want := regexp.MustCompile(`^bursar: ` + c.want + `, and the output could not be written: .*broken pipe\n$`)
		if state.ExitCode() != exit.Refused || !want.MatchString(stderr) {
			t.Errorf("%s: %s, %q", c.command, state, stderr)
		}
		if id := regexp.MustCompile(`acme\.[0-9a-f]{32}`).FindString(stderr); id != "" {
			lastID = id
		}
	}
}

// What only prints ends without a word, as other tools do, and is no success.
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
