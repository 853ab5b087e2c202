//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestBinary(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ output, want string }{
		"the oldest":         {"echo Redis server v=7.0.0 sha=0:0", ""},
		"two digits":         {"echo Redis server v=10.2.3 sha=0:0", ""},
		"a fork":             {"echo Valkey server v=8.1.0 sha=0:0", ""},
		"too old":            {"echo Redis server v=6.2.14 sha=0:0", "is version 6.2.14"},
		"something else":     {"echo hello", "hello"},
		"one that complains": {"exit 3", "exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "server")
			writeScript(t, path, tc.output)
			expectBinary(t, path, tc.want)
		})
	}
}

// writeScript writes an executable. It holds ForkLock, because a process that is forked
// while the file is open inherits it, and the kernel doesn't run a file that is open for
// writing.
func writeScript(t *testing.T, path, line string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+line+"\n"), 0o700))
}

func TestBinaryThatIsMissing(t *testing.T) {
	t.Parallel()
	expectBinary(t, filepath.Join(t.TempDir(), "nowhere"), "nowhere")
}

// TestBinaryOnThePath checks that valkey-server is used if redis-server is unusable.
func TestBinaryOnThePath(t *testing.T) {
	const redis7, redis6, valkey = "Redis server v=7.0.15 sha=0:0", "Redis server v=6.0.16 sha=0:0", "Valkey server v=8.0.1 sha=00000000:0"
	for name, tc := range map[string]struct{ redis, valkey, want string }{
		"both":               {redis7, valkey, "redis-server"},
		"valkey alone":       {"", valkey, "valkey-server"},
		"an old redis":       {redis6, valkey, "valkey-server"},
		"an old redis alone": {redis6, "", "is version 6.0.16"},
		"neither":            {"", "", "redis-server"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			t.Setenv("PATH", folder)
			t.Setenv(BinaryVariable, "")
			for binary, output := range map[string]string{"redis-server": tc.redis, "valkey-server": tc.valkey} {
				if output != "" {
					writeScript(t, filepath.Join(folder, binary), "echo "+output)
				}
			}
			found, err := Binary(t.Context())
			if tc.valkey != "" && (err != nil || found != filepath.Join(folder, tc.want)) {
				t.Errorf("found %q, %v; want %s", found, err, tc.want)
			}
			if tc.valkey == "" && (!errors.Is(err, ErrNoServer) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("found %q, %v; want ErrNoServer and %q", found, err, tc.want)
			}
		})
	}
}

func expectBinary(t *testing.T, path, want string) {
	t.Helper()
	found, err := findBinary(t.Context(), path)
	if want == "" {
		if err != nil || found != path {
			t.Errorf("found %q, %v; want %s", found, err, path)
		}
		return
	}
	if !errors.Is(err, ErrNoServer) {
		t.Fatalf("%v, want ErrNoServer", err)
	}
	for _, part := range []string{want, "package redis-server", BinaryVariable} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v; want it to name %q", err, part)
		}
	}
}

// TestStartFailsWithoutAServer checks that without a server a test fails and isn't skipped.
func TestStartFailsWithoutAServer(t *testing.T) {
	t.Setenv(BinaryVariable, filepath.Join(t.TempDir(), "nowhere"))
	for name, start := range map[string]func(TB){
		"Start":        func(t TB) { Start(t) },
		"StartCluster": func(t TB) { StartCluster(t) },
	} {
		fake := &fakeTB{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			start(fake)
		}()
		<-done
		if !strings.Contains(fake.fatal, "package redis-server") || !strings.Contains(fake.fatal, BinaryVariable) {
			t.Errorf("%s: %q; want the remedy", name, fake.fatal)
		}
	}
}

func TestStartReportsACrashAtTheEnd(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{}
	s := Start(fake)
	check(t, s.current().signal(syscall.SIGKILL))
	<-s.current().exited
	fake.cleanup()
	if !strings.Contains(fake.errors, "crashed") {
		t.Errorf("%q; want the crash", fake.errors)
	}
	expectNoTrace(t, s)
}

type fakeTB struct {
	fatal, errors string
	cleanup       func()
}

func (*fakeTB) Helper()                        {}
func (f *fakeTB) Cleanup(end func())           { f.cleanup = end }
func (f *fakeTB) Errorf(text string, a ...any) { f.errors += fmt.Sprintf(text, a...) }
func (f *fakeTB) Fatalf(text string, a ...any) {
	f.fatal = fmt.Sprintf(text, a...)
	runtime.Goexit()
}
