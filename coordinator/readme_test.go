package coordinator_test

import (
	"os"
	"strings"
	"testing"
)

// The README's code is the Example's, line for line, but for how it connects.
func TestReadmeShowsTheExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(readme), "```go\n")
	code, _, closed := strings.Cut(code, "```")
	if !found || !closed {
		t.Fatal("the README has no Go code")
	}
	lines := 0
	for line := range strings.Lines(code) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "client :=") {
			continue
		}
		lines++
		if !strings.Contains(string(example), line) {
			t.Errorf("the README shows %q, which no Example has", line)
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines of the README's code were compared", lines)
	}
}
