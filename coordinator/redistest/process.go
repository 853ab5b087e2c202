package redistest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
)

// process is one run of redis-server. It leads its own process group, so that signals also
// reach the children that it forks to write snapshots.
type process struct {
	cmd *exec.Cmd
	// ended is set before this package kills the process. If the process exits with an
	// error while ended is false, it has crashed.
	ended  atomic.Bool
	reaper *reaper
	exited chan struct{}
	err    error // the result of Wait; read only after exited is closed
}

// startProcess starts the command in its own process group, guarded by the reaper.
func startProcess(cmd *exec.Cmd, w *reaper) (*process, error) {
	cmd.SysProcAttr = ownGroup()
	p := &process{cmd: cmd, reaper: w, exited: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	return p, <-started
}

// run keeps its thread until the process has ended: the kernel sends the parent-death
// signal when the thread that forked the process exits, not when the parent exits.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	if err := p.reaper.guard(p.pid()); err != nil {
		p.ended.Store(true)
		// Wait below returns the result.
		_ = p.cmd.Process.Kill()
	}
	started <- nil
	p.err = p.cmd.Wait()
	// A child that writes a snapshot survives the crash of the server, and would keep
	// writing to a folder that is about to be removed. Usually there is none, and the error
	// is ESRCH.
	_ = signalGroup(p.pid(), syscall.SIGKILL)
	// The system may soon reuse the PID. An error means that the reaper is gone.
	_ = p.reaper.guard(noLeader)
	close(p.exited)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return errors.New("it is not running; call Restart first")
	}
	return signalGroup(p.pid(), sig)
}

// kill ends the process with SIGKILL and waits until it has exited.
func (p *process) kill() {
	if p.running() {
		p.ended.Store(true)
	}
	// An error means that the process has already ended.
	_ = p.signal(syscall.SIGKILL)
	<-p.exited
}

// terminate ends the process with SIGTERM and waits until it has exited. If ctx ends first,
// terminate kills the process and returns an error.
func (p *process) terminate(ctx context.Context) error {
	if p.running() {
		p.ended.Store(true)
	}
	// A paused process receives SIGTERM only when it is resumed. An error of either signal
	// means that the process has already ended.
	_ = p.signal(sigResume)
	_ = p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("it did not end after SIGTERM and was killed: %w", ctx.Err())
	}
}

// crash returns the exit error of a process that this package didn't end, else nil. After a
// SHUTDOWN command the exit status is 0, so that isn't a crash.
func (p *process) crash() error {
	if p.running() || p.ended.Load() {
		return nil
	}
	return p.err
}
