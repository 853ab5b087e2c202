//go:build !unix

package redistest

import (
	"errors"
	"syscall"
)

// The package builds on every platform, because commands import it, but works only on Unix.
const (
	sigPause  = syscall.SIGTERM
	sigResume = syscall.SIGTERM
)

func ownGroup() *syscall.SysProcAttr { return nil }

func reaperGroup() *syscall.SysProcAttr { return nil }

func signalGroup(int, syscall.Signal) error {
	return errors.New("redistest needs a Unix to signal redis-server")
}
