package coordinator

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A breaker keeps callers from queueing on a server that answers nothing: it
// opens when nothing was answered for a while, and closes with the first answer.
// What waits already goes on trying, at a lane's own pace, and each of its
// attempts is a probe; where nothing waits, one call a while is let through. What
// settles a hold is never kept away: that money is held already.
type breaker struct {
	after time.Duration // 0: it never opens

	now atomic.Int32 // a breakerState

	mu       sync.Mutex
	failing  time.Time // since when nothing was answered; zero while something is
	tried    time.Time // when the last attempt failed
	answered time.Time // when the server answered last
	probe    time.Time // when the next call may go, while it is open
}

type breakerState int32

const (
	breakerClosed   breakerState = iota
	breakerHalfOpen              // a call was let through, and its fate is open
	breakerOpen
)

// probeInterval is how long an open breaker keeps calls away between two that it
// lets through, give or take half of it.
const probeInterval = time.Second

func (b *breaker) state() breakerState { return breakerState(b.now.Load()) }

// admits reports whether a call may go to the server.
func (b *breaker) admits(at time.Time) bool {
	if b.state() == breakerClosed {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state() == breakerClosed {
		return true
	}
	if at.Before(b.probe) {
		return false
	}
	b.probe = nextProbe(at)
	b.now.Store(int32(breakerHalfOpen))
	return true
}

// idle is how long nobody may have tried before failures no longer add up: whoever
// waits for an answer tries more often.
const idle = 2 * time.Second

// succeeded closes the breaker, and returns for how long nothing was answered where
// it was not closed.
func (b *breaker) succeeded(at time.Time) (outage time.Duration, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = at
	if b.failing.IsZero() {
		return 0, false
	}
	outage = at.Sub(b.failing)
	b.failing = time.Time{}
	closed = b.state() != breakerClosed
	b.now.Store(int32(breakerClosed))
	return outage, closed
}

// failed notes an attempt that began and got no answer until now, and reports that
// this opens the breaker.
func (b *breaker) failed(began, at time.Time) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answered.After(began) {
		began = b.answered
	}
	if b.failing.IsZero() || b.state() == breakerClosed && began.Sub(b.tried) > idle {
		b.failing = began
	}
	b.tried = at
	if b.after == 0 || at.Sub(b.failing) < b.after {
		return false
	}
	opened = b.state() == breakerClosed
	if opened {
		b.probe = nextProbe(at)
	}
	b.now.Store(int32(breakerOpen))
	return opened
}

func nextProbe(at time.Time) time.Time {
	return at.Add(probeInterval/2 + rand.N(probeInterval)) //nolint:gosec // jitter protects nothing
}
