package local_test

import (
	"testing"

	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/local"
)

func factory(t testing.TB, c budgettest.Config) budgettest.Subject {
	var crossings budgettest.CrossingLog
	e, err := local.New(local.WithHoldTTL(c.HoldTTL), local.WithClock(c.Clock), local.WithOnThreshold(crossings.Add))
	if err != nil {
		t.Fatal(err)
	}
	return budgettest.Subject{Engine: e, Levels: true, Settings: true, Windows: true, Limits: true, Crossings: crossings.All}
}

func TestEngine(t *testing.T) {
	t.Parallel()
	budgettest.Run(t, factory)
}
