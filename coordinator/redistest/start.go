package redistest

import "context"

// TB is the part of testing.TB that the Start functions use. *testing.T, *testing.B,
// *testing.F and *rapid.T implement it. The package doesn't import testing, because
// commands import this package.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start is [Spawn] for a test. It closes the server at the end of the test. The test fails
// at once if the server can't be started, and at its end if the server has crashed.
func Start(t TB, opts ...Option) *Server {
	t.Helper()
	s, err := Spawn(context.Background(), opts...)
	return keep(t, s, err)
}

// StartReplica is [SpawnReplica] for a test.
func StartReplica(t TB, primary *Server, opts ...Option) *Server {
	t.Helper()
	s, err := SpawnReplica(context.Background(), primary, opts...)
	return keep(t, s, err)
}

// StartSentinels is [SpawnSentinels] for a test.
func StartSentinels(t TB, primary *Server, count int, opts ...Option) *Sentinels {
	t.Helper()
	g, err := SpawnSentinels(context.Background(), primary, count, opts...)
	return keep(t, g, err)
}

// StartCluster is [SpawnCluster] for a test.
func StartCluster(t TB, opts ...Option) *Cluster {
	t.Helper()
	c, err := SpawnCluster(context.Background(), opts...)
	return keep(t, c, err)
}

func keep[S interface{ Close() error }](t TB, started S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
		return started
	}
	t.Cleanup(func() {
		if err := started.Close(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return started
}
