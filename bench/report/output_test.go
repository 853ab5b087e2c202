package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func writeText(text string, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		_, writeErr := io.WriteString(w, text)
		return errors.Join(writeErr, err)
	}
}

func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".bursar-") {
			t.Errorf("%s was left", e.Name())
		}
	}
}

func TestWriteWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := writable(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("asking has made the file: %v", err)
	}
	for _, text := range []string{"long, long", "short"} {
		if err := writeWhole(path, writeText(text, nil)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
		alone(t, path)
	}
}

func TestWriteWholeKeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := writeWhole(path, writeText("half", broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); string(got) != "before" {
		t.Errorf("got %q, %v", got, err)
	}
	alone(t, path)
}

func TestWriteWholeFollowsLinksAndKeepsTheMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "report.html"), filepath.Join(dir, "latest.html")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Symlink("report.html", link)); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(link, writeText("text", nil)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
}

func TestWriteWholeOnADevice(t *testing.T) {
	t.Parallel()
	if err := writeWhole(os.DevNull, writeText("text", nil)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s was replaced: %v, %v", os.DevNull, info.Mode(), err)
	}
	if err := writeWhole("/dev/full", writeText("text", nil)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: got %v", err)
	}
}

func TestWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                              "it is a directory",
		filepath.Join(dir, "none", "x"):  "no such file or directory",
		filepath.Join(os.DevNull, "x"):   "not a directory",
		filepath.Join(dir, "report.txt"): "",
	} {
		err := writable(path)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	alone(t, filepath.Join(dir, "x"))
}
