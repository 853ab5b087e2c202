package redistest

import "context"

// TB is what the Start functions need of a test. *testing.T, *testing.B,
// *testing.F and *rapid.T have it; the package does not import testing, because
// commands import the package.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start is [Spawn] for a test: the server is closed at the test's end. The test
// fails at once where no server can be had, and at its end where the server
// crashed by itself.
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
