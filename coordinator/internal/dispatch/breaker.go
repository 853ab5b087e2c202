package dispatch

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A breaker is a circuit breaker: it opens after a server has been unresponsive for a
// while, so that callers do not queue for it, and closes with the first response. Queued
// calls keep retrying with their lane's back-off, and each attempt is a probe; if nothing
// is queued, about one call per second is let through. Settlements are never rejected:
// their money is already held.
type breaker struct {
	after time.Duration // 0 for a breaker that never opens

	current atomic.Int32 // a BreakerState

	mu       sync.Mutex
	failing  time.Time // start of the current series of failed attempts; zero if the last one succeeded
	tried    time.Time // last failed attempt
	answered time.Time // last response
	probe    time.Time // next call that an open breaker lets through
}

// BreakerState is the state of a server's circuit breaker.
type BreakerState int32

// The states, as telemetry numbers them.
const (
	BreakerClosed   BreakerState = iota
	BreakerHalfOpen              // a call was let through and has no response yet
	BreakerOpen
)

// probeInterval is the mean time between two calls that an open breaker lets through.
const probeInterval = time.Second

func (b *breaker) state() BreakerState { return BreakerState(b.current.Load()) }

// admits reports whether a call may go to the server.
func (b *breaker) admits(at time.Time) bool {
	if b.state() == BreakerClosed {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state() == BreakerClosed {
		return true
	}
	if at.Before(b.probe) {
		return false
	}
	b.probe = nextProbe(at)
	b.current.Store(int32(BreakerHalfOpen))
	return true
}

// idle is the longest interval between attempts over which failures add up: a queued call
// tries more often.
const idle = 2 * time.Second

// succeeded closes the breaker. If it was not closed, it also returns for how long the
// server was unresponsive.
func (b *breaker) succeeded(at time.Time) (outage time.Duration, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = at
	if b.failing.IsZero() {
		return 0, false
	}
	outage = at.Sub(b.failing)
	b.failing = time.Time{}
	closed = b.state() != BreakerClosed
	b.current.Store(int32(BreakerClosed))
	return outage, closed
}

// failed records an attempt that has had no response since began, and reports whether it
// opens the breaker.
func (b *breaker) failed(began, at time.Time) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answered.After(began) {
		began = b.answered
	}
	if b.failing.IsZero() || b.state() == BreakerClosed && began.Sub(b.tried) > idle {
		b.failing = began
	}
	b.tried = at
	if b.after == 0 || at.Sub(b.failing) < b.after {
		return false
	}
	opened = b.state() == BreakerClosed
	if opened {
		b.probe = nextProbe(at)
	}
	b.current.Store(int32(BreakerOpen))
	return opened
}

func nextProbe(at time.Time) time.Time {
	return at.Add(probeInterval/2 + rand.N(probeInterval)) //nolint:gosec // jitter needs no secure randomness
}
