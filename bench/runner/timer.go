package runner

import (
	"sync"
	"time"
)

// timer wakes one goroutine at given instants.
type timer interface {
	// sleepUntil returns at the instant, at once if it has passed. False means that the
	// timer was stopped.
	sleepUntil(instant time.Time) bool
	// stop ends the sleep that is under way and those to come.
	stop()
	close()
}

// goTimer is as exact as the runtime's timers.
type goTimer struct {
	stopped chan struct{}
	once    sync.Once
}

func newGoTimer() (timer, error) { return &goTimer{stopped: make(chan struct{})}, nil }

func (a *goTimer) sleepUntil(instant time.Time) bool {
	wait := time.Until(instant)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.stopped:
		return false
	}
}

func (a *goTimer) stop() { a.once.Do(func() { close(a.stopped) }) }

func (a *goTimer) close() {}
