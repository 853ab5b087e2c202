package budgettest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Config is the configuration of an engine for a test.
type Config struct {
	// HoldTTL is the engine's default hold TTL; 0 is none.
	HoldTTL time.Duration
	// Clock is the engine's clock; if it is nil, the engine uses its own.
	Clock func() time.Time
}

// Subject is an engine under test.
type Subject struct {
	// Engine may spread its calls over several nodes that share a store; see [Spread].
	Engine budget.Engine
	// Stored reads every account from the store, without the engine. A hold may still be
	// open there after its deadline. If Stored is nil, the engine has no store, and the
	// suites call its Holds instead.
	Stored func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error)
	// Levels enables the checks of tenants with ancestors, in all suites. The engine, and
	// each node of a Spread, must then have the methods DeleteTenant and Tree, as package
	// local's.
	Levels bool
	// Settings enables the checks of account settings, in all suites; those of several
	// levels need Levels as well.
	Settings bool
	// Windows enables the checks of windows, in all suites; it needs Settings, and those of
	// several levels need Levels as well. Without it, [Run] lists them as skipped.
	Windows bool
	// Limits enables the checks of several limits a tenant, in all suites; it needs Windows,
	// and those of several levels need Levels as well. Without it, [Run] lists them as skipped.
	Limits bool
	// Crossings returns the threshold events of all nodes so far, in any order. If it is
	// nil, the checks of Settings don't check events.
	Crossings func() []budget.Crossing
}

// abilities are the parts of an engine that are to be checked besides the basic operations.
type abilities struct{ levels, settings, windows, limits bool }

func (s Subject) abilities() abilities {
	windows := s.Settings && s.Windows
	return abilities{s.Levels, s.Settings, windows, windows && s.Limits}
}

// and returns the abilities that both have.
func (a abilities) and(b abilities) abilities {
	return abilities{a.levels && b.levels, a.settings && b.settings, a.windows && b.windows, a.limits && b.limits}
}

// levelled is an engine whose levels are checked.
type levelled interface {
	DeleteTenant(ctx context.Context, tenant budget.TenantID) (budget.Balance, error)
	Tree(ctx context.Context, tenant budget.TenantID) (budget.Tree, error)
}

// Factory returns a new engine without tenants. It is called for every test, and for every
// case of [Differential], so it should be cheap. No two of its subjects are in use at the
// same time. It must use t.Cleanup to end the processes and goroutines that it starts.
type Factory func(t testing.TB, c Config) Subject

// scope is a part of a test whose cleanups run when the part ends, so that a test with a
// hundred cases doesn't keep a hundred engines.
type scope struct {
	testing.TB
	cleanups []func()
}

func scoped(t testing.TB, run func(t testing.TB)) {
	s := &scope{TB: t}
	defer s.end()
	run(s)
}

// Cleanup registers a function to call when the scope ends, in last-added, first-called
// order.
func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}

// CrossingLog collects the events of thresholds, for [Subject.Crossings].
type CrossingLog struct {
	mu  sync.Mutex
	all []budget.Crossing
}

// Add is the function to pass to an engine's WithOnThreshold.
func (l *CrossingLog) Add(c budget.Crossing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, c)
}

// All returns the events so far.
func (l *CrossingLog) All() []budget.Crossing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}
