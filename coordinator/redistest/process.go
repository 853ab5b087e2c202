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

// process is one run of redis-server. It leads a process group of its own, so
// that the children it forks to write snapshots are signalled with it.
type process struct {
	cmd *exec.Cmd
	// ended is set before this package ends the process: what ends otherwise
	// with an error has crashed.
	ended  atomic.Bool
	warden *warden
	exited chan struct{}
	err    error // how it ended; to be read once exited is closed
}

// startProcess runs the command in a group of its own, guarded by the warden.
func startProcess(cmd *exec.Cmd, w *warden) (*process, error) {
	cmd.SysProcAttr = ownGroup()
	p := &process{cmd: cmd, warden: w, exited: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	return p, <-started
}

// run holds its thread until the process has ended: the kernel sends the signal
// for a parent's death when the thread dies that forked, not when the parent does.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	if err := p.warden.guard(p.pid()); err != nil {
		p.ended.Store(true)
		// Wait tells what came of it.
		_ = p.cmd.Process.Kill()
	}
	started <- nil
	p.err = p.cmd.Wait()
	// A snapshot writer survives its parent's crash, and would write on into a
	// folder that is about to be removed. Mostly there is none: no such process.
	_ = signalGroup(p.pid(), syscall.SIGKILL)
	// The number may be another's soon. An error means that the warden is gone.
	_ = p.warden.guard(nobody)
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

// kill ends the process at once and waits until the kernel has taken it apart.
func (p *process) kill() {
	if p.running() {
		p.ended.Store(true)
	}
	// An error means that it has just ended by itself.
	_ = p.signal(syscall.SIGKILL)
	<-p.exited
}

// terminate asks the process to end and waits until it has.
func (p *process) terminate(ctx context.Context) error {
	if p.running() {
		p.ended.Store(true)
	}
	// A paused process would see SIGTERM only once it is resumed. An error of
	// either signal means that it has just ended by itself.
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

// crash returns how the process ended where nobody had asked it to, else nil. A
// SHUTDOWN command ends it with status 0, which is no crash.
func (p *process) crash() error {
	if p.running() || p.ended.Load() {
		return nil
	}
	return p.err
}
