package runner

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerFD is a timer that epoll watches. The runtime's own timers are late by up to
// a millisecond on a machine with nothing else to do, because epoll_wait counts in
// milliseconds, and that would look like the engine's latency: this one is late by 30 to
// 50 µs when a timer of the runtime is by 540.
type timerFD struct {
	fd   int
	file *os.File // the same, by which the runtime's poller knows it
}

func newTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	return &timerFD{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (a *timerFD) sleepUntil(instant time.Time) bool {
	wait := time.Until(instant)
	if wait <= 0 {
		return true
	}
	if unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil) != nil {
		return false
	}
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err == nil
}

func (a *timerFD) stop() { _ = a.file.SetReadDeadline(time.Unix(1, 0)) }

func (a *timerFD) close() { a.file.Close() }
