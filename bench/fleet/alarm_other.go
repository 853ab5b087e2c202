//go:build !linux

package fleet

import (
	"sync"
	"time"
)

// alarm wakes one goroutine at given instants, as exactly as the runtime's timers.
type alarm struct {
	stopped chan struct{}
	once    sync.Once
}

func newAlarm() (*alarm, error) { return &alarm{stopped: make(chan struct{})}, nil }

// sleepUntil returns at the instant, at once if it has passed. False means that the
// alarm was stopped.
func (a *alarm) sleepUntil(instant time.Time) bool {
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

// stop ends the sleep that is under way and those to come.
func (a *alarm) stop() { a.once.Do(func() { close(a.stopped) }) }

func (a *alarm) close() {}
