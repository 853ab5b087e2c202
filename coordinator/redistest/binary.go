package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// BinaryVariable is the environment variable that names the redis-server binary
// to use in place of the one on the PATH.
const BinaryVariable = "BURSAR_REDIS_SERVER"

// ErrNoServer: there is no redis-server of version 7.0 or later. The text says
// what was found and what to do.
var ErrNoServer = errors.New("no usable redis-server")

const (
	minMajor = 7
	remedy   = "install Debian's package redis-server (7.0 or later), or set " + BinaryVariable + " to the binary"
)

var versionPattern = regexp.MustCompile(`\bv=(\d+)\.(\d+)\.(\d+)`)

// Binary returns the path of the redis-server that Spawn would start, or
// [ErrNoServer]. It runs the binary once, to ask for its version.
func Binary(ctx context.Context) (string, error) {
	return findBinary(ctx, os.Getenv(BinaryVariable))
}

func findBinary(ctx context.Context, named string) (string, error) {
	name := named
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w; %s", ErrNoServer, err, remedy)
	}
	// The server runs in a folder of its own, where a relative path leads nowhere.
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("%w: %w; %s", ErrNoServer, err, remedy)
	}
	said, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s --version: %w; %s", ErrNoServer, path, err, remedy)
	}
	return path, checkVersion(path, said)
}

func checkVersion(path string, said []byte) error {
	found := versionPattern.FindSubmatch(said)
	if found == nil {
		return fmt.Errorf("%w: %s --version says %.100q, which is no Redis version; %s", ErrNoServer, path, said, remedy)
	}
	if major, err := strconv.Atoi(string(found[1])); err != nil || major < minMajor {
		return fmt.Errorf("%w: %s is version %s.%s.%s; %s", ErrNoServer, path, found[1], found[2], found[3], remedy)
	}
	return nil
}
