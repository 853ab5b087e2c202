package budgettest

import (
	"context"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Config is what a test asks of an engine.
type Config struct {
	// HoldTTL is the engine's default for holds; 0 is none.
	HoldTTL time.Duration
	// Clock is the engine's only clock; nil leaves it its own.
	Clock func() time.Time
}

// Subject is an engine under test.
type Subject struct {
	// Engine may spread its calls over several nodes of one store, see Spread.
	Engine budget.Engine
	// Stored reads every account from the store, without the engine. A hold whose
	// deadline has passed may still be open there. It is nil for an engine without a
	// store, whose own Holds is called instead.
	Stored func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error)
}

// Factory makes an engine on an empty state. It is called for every test, and by
// the differential for every case, so it should be cheap; it never has two
// subjects at once to serve. What it starts it ends with t.Cleanup.
type Factory func(t testing.TB, c Config) Subject

// scope is a test within a test: its clean-ups run when it ends, so that a
// hundred cases of one test do not keep a hundred engines.
type scope struct {
	testing.TB
	cleanups []func()
}

func scoped(t testing.TB, run func(t testing.TB)) {
	s := &scope{TB: t}
	defer s.end()
	run(s)
}

// Cleanup registers what ends with the scope, last first.
func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}
