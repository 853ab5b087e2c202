// Package redistest starts and stops real redis-server or valkey-server processes on free
// loopback ports: standalone servers, replicas, Sentinel groups and Clusters. It is for
// tests, and for commands that need a temporary private Redis.
//
// Tests call [Start], [StartReplica], [StartSentinels] or [StartCluster]. The servers are
// closed at the end of the test, and the test fails, rather than being skipped, on a
// machine without a server binary. Other code calls [Spawn], [SpawnReplica],
// [SpawnSentinels] or [SpawnCluster], which return an error, and must call Close.
//
//	server := redistest.Start(t, redistest.WithConfig("maxmemory 10mb"))
//	client := server.Client() // closed with the server
//	server.Kill()             // simulates a crash
//	err := server.Restart(ctx)
//
// The binary is the one that the environment variable BURSAR_REDIS_SERVER names, else
// redis-server or, if that is missing or unusable, valkey-server on the PATH. It must be of
// version 7.0 or later.
//
// # Cleanup
//
// Data are stored in a private folder that Close removes. If the process dies without
// Close (a panic, SIGKILL), its servers are killed and their folders are removed by a small
// shell that waits for the end of a pipe from the process; on Linux the kernel kills the
// servers as well. So the package needs a Unix with /bin/sh.
package redistest
