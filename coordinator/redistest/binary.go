package redistest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// BinaryVariable is the environment variable with the path of the redis-server or
// valkey-server to use instead of one on the PATH.
const BinaryVariable = "BURSAR_REDIS_SERVER"

// ErrNoServer is returned if there isn't a redis-server or valkey-server of version 7.0 or
// later. The text of an error that wraps it names the cause and the remedy.
var ErrNoServer = errors.New("no usable redis-server or valkey-server")

const (
	minMajor = 7
	remedy   = "install Debian's package redis-server (7.0 or later) or valkey-server, or set " + BinaryVariable + " to the binary"
)

// binaryNames lists the binaries in the order in which the PATH is searched for them.
var binaryNames = []string{"redis-server", "valkey-server"}

var versionPattern = regexp.MustCompile(`\bv=(\d+)\.(\d+)\.(\d+)`)

// Binary returns the path of the server that [Spawn] would start, or [ErrNoServer]. It runs
// the binary once, to read its version.
func Binary(ctx context.Context) (string, error) {
	return findBinary(ctx, os.Getenv(BinaryVariable))
}

// findBinary returns the path of the first usable server. If there is none, it returns the
// error of the first that is unusable or, if none is found, of the first that is missing.
func findBinary(ctx context.Context, named string) (string, error) {
	if named != "" {
		return usable(ctx, named)
	}
	var missing, unusable error
	for _, name := range binaryNames {
		path, err := usable(ctx, name)
		switch {
		case err == nil:
			return path, nil
		case errors.Is(err, exec.ErrNotFound):
			missing = cmp.Or(missing, err)
		default:
			unusable = cmp.Or(unusable, err)
		}
	}
	return "", cmp.Or(unusable, missing)
}

func usable(ctx context.Context, name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w; %s", ErrNoServer, err, remedy)
	}
	// The server runs in its own folder, so a relative path would be wrong.
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("%w: %w; %s", ErrNoServer, err, remedy)
	}
	output, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s --version: %w; %s", ErrNoServer, path, err, remedy)
	}
	return path, checkVersion(path, output)
}

func checkVersion(path string, output []byte) error {
	found := versionPattern.FindSubmatch(output)
	if found == nil {
		return fmt.Errorf("%w: %s --version prints %.100q, which isn't a Redis version; %s", ErrNoServer, path, output, remedy)
	}
	if major, err := strconv.Atoi(string(found[1])); err != nil || major < minMajor {
		return fmt.Errorf("%w: %s is version %s.%s.%s; %s", ErrNoServer, path, found[1], found[2], found[3], remedy)
	}
	return nil
}
