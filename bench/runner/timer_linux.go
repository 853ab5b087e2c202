package runner

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerFD is a timerfd, watched by epoll. The runtime's own timers are late by up to a
// millisecond on an idle machine, because epoll_wait counts in milliseconds, and an open
// loop would show that as the engine's latency. A timerfd is late by 30 to 50 µs when a
// timer of the runtime is by 540.
type timerFD struct {
	fd   int
	file *os.File // the same descriptor, for the runtime's poller
}

func newTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating a timerfd: %w", err)
	}
	return &timerFD{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (t *timerFD) sleep(wait time.Duration) bool {
	if wait <= 0 {
		return true
	}
	if unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil) != nil {
		return false
	}
	var expirations [8]byte
	_, err := t.file.Read(expirations[:])
	return err == nil
}

func (t *timerFD) stop() { _ = t.file.SetReadDeadline(time.Unix(1, 0)) }

func (t *timerFD) close() { t.file.Close() }
