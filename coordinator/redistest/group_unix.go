//go:build unix

package redistest

import "syscall"

const (
	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
)

// reaperGroup returns the attributes of ownGroup without the parent-death signal that it
// sets on Linux.
func reaperGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func signalGroup(leader int, sig syscall.Signal) error { return syscall.Kill(-leader, sig) }
