package fleet

import (
	"sync"
	"time"
)

// alarm wakes one goroutine at given instants.
type alarm interface {
	// sleepUntil returns at the instant, at once if it has passed. False means that the
	// alarm was stopped.
	sleepUntil(instant time.Time) bool
	// stop ends the sleep that is under way and those to come.
	stop()
	close()
}

// timerAlarm is as exact as the runtime's timers.
type timerAlarm struct {
	stopped chan struct{}
	once    sync.Once
}

func newTimerAlarm() (alarm, error) { return &timerAlarm{stopped: make(chan struct{})}, nil }

func (a *timerAlarm) sleepUntil(instant time.Time) bool {
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

func (a *timerAlarm) stop() { a.once.Do(func() { close(a.stopped) }) }

func (a *timerAlarm) close() {}
