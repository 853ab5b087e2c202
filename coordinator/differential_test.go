package coordinator_test

import (
	"testing"

	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/local"
)

func inProcess(t testing.TB, c budgettest.Config) budgettest.Subject {
	opts := []local.Option{local.WithHoldTTL(c.HoldTTL)}
	if c.Clock != nil {
		opts = append(opts, local.WithClock(c.Clock))
	}
	engine, err := local.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return budgettest.Subject{Engine: engine, Levels: true, Settings: true, Windows: true, Limits: true}
}

func TestRedisAgreesWithLocal(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	budgettest.Differential(t, inProcess, on(server.Client(), server.Client()))
}

func FuzzRedisAgreesWithLocal(f *testing.F) {
	server := redistest.Start(f)
	budgettest.FuzzDifferential(f, inProcess, on(server.Client()))
}
