package budgettest

import (
	"testing"

	"github.com/calybris/bursar/local"
)

// localFactory returns the in-process engine, which has no store to read.
func localFactory(t testing.TB, c Config) Subject {
	var crossings CrossingLog
	engine, err := local.New(local.WithHoldTTL(c.HoldTTL), local.WithClock(c.Clock), local.WithOnThreshold(crossings.Add))
	if err != nil {
		t.Fatal(err)
	}
	return Subject{Engine: engine, Levels: true, Settings: true, Windows: true, Limits: true, Crossings: crossings.All}
}

func TestLocalEnginePasses(t *testing.T) { Run(t, localFactory) }

func TestLocalEngineEqualsNaive(t *testing.T) { Differential(t, naiveFactory, localFactory) }

func FuzzLocalEngineEqualsNaive(f *testing.F) { FuzzDifferential(f, naiveFactory, localFactory) }
