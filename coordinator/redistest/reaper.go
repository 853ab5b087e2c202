package redistest

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
)

// reaper is a shell that outlives this process by a moment. It reads the ID of the server's
// process group from a pipe, and an empty line once the group has ended. When the pipe is
// closed, by Close or because this process died, it kills the last group and removes the
// folder.
type reaper struct {
	cmd      *exec.Cmd
	lifeline io.WriteCloser
}

// The loop is for a server that creates a file just before it dies, after rm has read the
// folder.
const reaperScript = `
leader=
while read -r line; do leader=$line; done
test -z "$leader" || kill -s KILL -- "-$leader"
for try in 1 2 3 4 5; do rm -rf -- "$1" && exit; sleep 0.1; done
`

func startReaper(dir string) (*reaper, error) {
	cmd := exec.Command("/bin/sh", "-c", reaperScript, "bursar-redis-reaper", dir)
	// Its working directory must not be a folder that it, or a caller, wants to remove.
	cmd.Dir = "/"
	// A signal to this process's group (Ctrl-C) must not end the reaper first.
	cmd.SysProcAttr = reaperGroup()
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("a pipe for the shell that cleans up: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the shell that cleans up: %w", err)
	}
	return &reaper{cmd: cmd, lifeline: lifeline}, nil
}

const noLeader = 0

// guard sets the process group to kill, by its leader; 0 is none.
func (w *reaper) guard(leader int) error {
	line := "\n"
	if leader != noLeader {
		line = strconv.Itoa(leader) + line
	}
	if _, err := io.WriteString(w.lifeline, line); err != nil {
		return fmt.Errorf("the shell that cleans up is gone: %w", err)
	}
	return nil
}

// close ends the reaper. If it returns nil, the folder has been removed.
func (w *reaper) close() error {
	if err := w.lifeline.Close(); err != nil {
		return err
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("the shell that cleans up: %w", err)
	}
	return nil
}
