package coordinator_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/redistest"
)

// The README's program is built as it stands, as a module of its own next to the clone,
// and prints the output that the README shows; only the address is the test's.
func TestReadmeProgramRuns(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, found := strings.Cut(string(readme), "```go\n")
	program, _, closed := strings.Cut(program, "```")
	_, printed, marked := strings.Cut(string(readme), "go run .                                                     # ")
	printed, _, _ = strings.Cut(printed, "\n")
	if !found || !closed || !marked {
		t.Fatal("the README has no program, or not its output")
	}
	server := redistest.Start(t)
	program = strings.Replace(program, "localhost:6379", server.Addr(), 1)

	dir := t.TempDir()
	clone, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(clone, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	// The clone's go.sum spares the test the network.
	for name, text := range map[string][]byte{"main.go": []byte(program), "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goCommand(t, dir, "mod", "init", "hello")
	goCommand(t, dir, "mod", "edit", "-replace", "github.com/calybris/bursar="+clone)
	goCommand(t, dir, "mod", "tidy")
	if output := goCommand(t, dir, "run", "."); !strings.HasSuffix(output, printed+"\n") {
		t.Errorf("the program printed %q, but the README has %q", output, printed)
	}
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := exec.Command("go", args...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}
