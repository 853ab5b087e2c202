//go:build unix

package redistest

import "syscall"

const (
	sigPause  = syscall.SIGSTOP
	sigResume = syscall.SIGCONT
)

// wardenGroup leaves out the parent-death signal that a server gets on Linux.
func wardenGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func signalGroup(leader int, sig syscall.Signal) error { return syscall.Kill(-leader, sig) }
