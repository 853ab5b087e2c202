// Package redistest starts and stops real redis-server or valkey-server processes
// on free loopback ports: standalone servers, replicas, Sentinel groups and Clusters.
// It serves tests, and commands that want a private Redis for a moment.
//
// A test calls [Start], [StartReplica], [StartSentinels] or [StartCluster]: what
// they start ends with the test, and a machine without a server fails the
// test; nothing skips. Everything else calls [Spawn] and its siblings, which
// return errors, and closes what it got.
//
//	server := redistest.Start(t, redistest.WithConfig("maxmemory 10mb"))
//	client := server.Client() // closed with the server
//	server.Kill()             // as a crash would
//	err := server.Restart(ctx)
//
// The binary is the one that the environment variable BURSAR_REDIS_SERVER names,
// else redis-server or, without one, valkey-server on the PATH: version 7.0 or later.
//
// # Nothing is left behind
//
// Data live in a private folder that Close removes. A process that dies without
// Close (a panic, SIGKILL) takes its servers and their folders with it: a small
// shell waits at the end of a pipe for that, and on Linux the kernel kills the
// servers too. So the package needs a Unix with /bin/sh.
package redistest
