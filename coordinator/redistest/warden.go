package redistest

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
)

// warden is a shell that outlives this process by a moment. It reads the leader
// of the server's process group from a pipe, an empty line once that has ended,
// and at the pipe's end (Close, or this process' death by whatever cause) it kills
// the last one and removes the folder.
type warden struct {
	cmd      *exec.Cmd
	lifeline io.WriteCloser
}

// The loop covers a server that makes a file in its last moment, between rm's
// reading of the folder and its removal.
const wardenScript = `
leader=
while read -r line; do leader=$line; done
test -z "$leader" || kill -s KILL -- "-$leader"
for try in 1 2 3 4 5; do rm -rf -- "$1" && exit; sleep 0.1; done
`

func startWarden(dir string) (*warden, error) {
	cmd := exec.Command("/bin/sh", "-c", wardenScript, "bursar-redis-warden", dir)
	// It must not stand in a folder that it removes, or that a caller wants to.
	cmd.Dir = "/"
	// A signal to this process' group (Ctrl-C) must not end the warden before us.
	cmd.SysProcAttr = wardenGroup()
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("a pipe for the shell that cleans up: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the shell that cleans up: %w", err)
	}
	return &warden{cmd: cmd, lifeline: lifeline}, nil
}

const nobody = 0

// guard names the leader of the process group to kill.
func (w *warden) guard(leader int) error {
	line := "\n"
	if leader != nobody {
		line = strconv.Itoa(leader) + line
	}
	if _, err := io.WriteString(w.lifeline, line); err != nil {
		return fmt.Errorf("the shell that cleans up is gone: %w", err)
	}
	return nil
}

// close ends the watch: the folder is removed when it returns nil.
func (w *warden) close() error {
	if err := w.lifeline.Close(); err != nil {
		return err
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("the shell that cleans up: %w", err)
	}
	return nil
}
