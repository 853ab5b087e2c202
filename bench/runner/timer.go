package runner

import (
	"sync"
	"time"
)

// timer wakes one goroutine.
type timer interface {
	// sleep returns after the duration, at once unless it is positive. It returns false
	// if the timer was stopped.
	sleep(wait time.Duration) bool
	// stop ends the current sleep and all later ones.
	stop()
	close()
}

// goTimer is as exact as the runtime's timers.
type goTimer struct {
	stopped chan struct{}
	once    sync.Once
}

func newGoTimer() (timer, error) { return &goTimer{stopped: make(chan struct{})}, nil }

func (t *goTimer) sleep(wait time.Duration) bool {
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stopped:
		return false
	}
}

func (t *goTimer) stop() { t.once.Do(func() { close(t.stopped) }) }

func (t *goTimer) close() {}
