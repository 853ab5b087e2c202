package budgettest

import "testing"

func TestNaiveEnginePasses(t *testing.T) { Run(t, naiveFactory) }

func TestNaiveEngineWithoutAStorePasses(t *testing.T) {
	Run(t, func(_ testing.TB, c Config) Subject {
		return Subject{Engine: newNaive(c), Levels: true, Settings: true, Windows: true, Limits: true}
	})
}

func TestSpreadPasses(t *testing.T) {
	Run(t, func(_ testing.TB, c Config) Subject {
		e := newNaive(c)
		return Subject{Engine: Spread(e, e, e), Stored: e.stored, Levels: true, Settings: true, Windows: true, Limits: true, Crossings: e.crossings}
	})
}

// withoutLevels returns the factory of an engine whose levels are not checked.
func withoutLevels(f Factory) Factory {
	return func(t testing.TB, c Config) Subject {
		s := f(t, c)
		s.Levels = false
		return s
	}
}

func TestNaiveEnginePassesWithoutLevels(t *testing.T) { Run(t, withoutLevels(naiveFactory)) }

func TestDifferentialWithoutLevels(t *testing.T) {
	Differential(t, naiveFactory, withoutLevels(naiveFactory))
}

func TestDifferentialOfEqualEnginesPasses(t *testing.T) {
	Differential(t, naiveFactory, naiveFactory)
}

func FuzzDifferentialOfEqualEngines(f *testing.F) {
	FuzzDifferential(f, naiveFactory, naiveFactory)
}
