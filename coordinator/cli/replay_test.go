package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

const recording = `{"op":"ensure","tenant":"acme","budget":100}
{"op":"reserve","tenant":"acme","cost":60,"as":"r1","want":{"outcome":"reserved","remaining":40}}
{"op":"commit","id":"r1","actual":50,"want":{"outcome":"committed","remaining":50,"actual":50}}
`

// run runs replay. It is not for parallel tests: urfave/cli keeps its help flag in a
// global.
func run(ctx context.Context, args ...string) (string, error) {
	var printed strings.Builder
	app := &cli.App{
		Writer: &printed, ErrWriter: &printed, Commands: []*cli.Command{Replay()},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := app.RunContext(ctx, append([]string{"bursar", "replay"}, args...))
	return printed.String(), err
}

func record(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trace.jsonl")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Each file starts from an empty state: a second replay has no differences either.
func TestReplay(t *testing.T) {
	file := record(t, recording)
	for _, flags := range [][]string{
		nil, {"--engine", "local"}, {"--engine", "embedded"}, {"--redis", "spawn"}, {"--engine", "redis", "--redis", "spawn"},
	} {
		printed, err := run(t.Context(), append(flags, file, file)...)
		if err != nil || printed != "6 operations, 0 differences\n" {
			t.Errorf("%v: %q, %v", flags, printed, err)
		}
	}
}

func TestReplayDiffers(t *testing.T) {
	file := record(t, strings.Replace(recording, `"actual":50}`, `"actual":51}`, 1))
	want := file + ":3: commit r1: actual: want 51, got 50\n3 operations, 1 difference\n"
	printed, err := run(t.Context(), file)
	if exit.Code(err) != exit.Refused || printed != want {
		t.Errorf("code %d, %q; want %q", exit.Code(err), printed, want)
	}
}

func TestReplayRefuses(t *testing.T) {
	file := record(t, recording)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exit.Usage, "at least one FILE"},
		{[]string{"--engine", "etcd", file}, exit.Usage, "give local, embedded or redis"},
		{[]string{"--engine", "redis", file}, exit.Usage, "needs --redis"},
		{[]string{"--engine", "embedded", "--redis", "spawn", file}, exit.Usage, "leave out --redis"},
		{[]string{"--redis", "nonsense", file}, exit.Usage, "is not a Redis address"},
		{[]string{"--redis", "redis://127.0.0.1:1", file}, exit.Unavailable, "no Redis answers"},
		{[]string{file, record(t, "")}, exit.Refused, ":1: "},
		{[]string{file, record(t, recording+"{}\n")}, exit.Refused, ":4: "},
		{[]string{filepath.Join(t.TempDir(), "none")}, exit.Refused, "no such file"},
	} {
		printed, err := run(t.Context(), c.args...)
		if exit.Code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) || printed != "" {
			t.Errorf("%v: code %d, %v, %q; want code %d, %q", c.args, exit.Code(err), err, printed, c.code, c.want)
		}
	}
}

func TestReplayInterrupted(t *testing.T) {
	file := record(t, recording)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if printed, err := run(ctx, "--engine", "embedded", file); exit.Code(err) != exit.Unavailable || printed != "" || !errors.Is(err, exit.ErrInterrupted) {
		t.Errorf("code %d, %q, %v", exit.Code(err), printed, err)
	}
}
