package budgettest

import "testing"

func TestNaiveEnginePasses(t *testing.T) { Run(t, naiveFactory) }

func TestNaiveEngineWithoutAStorePasses(t *testing.T) {
	Run(t, func(_ testing.TB, c Config) Subject { return Subject{Engine: newNaive(c)} })
}

func TestSpreadPasses(t *testing.T) {
	Run(t, func(_ testing.TB, c Config) Subject {
		e := newNaive(c)
		return Subject{Engine: Spread(e, e, e), Stored: e.stored}
	})
}

func TestDifferentialOfEqualEnginesPasses(t *testing.T) {
	Differential(t, naiveFactory, naiveFactory)
}

func FuzzDifferentialOfEqualEngines(f *testing.F) {
	FuzzDifferential(f, naiveFactory, naiveFactory)
}
