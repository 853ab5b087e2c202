package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/redistest"
)

// A change of policy while a node runs is logged once, and so is the return to
// noeviction.
func TestEvictionPolicyIsWatched(t *testing.T) {
	t.Parallel()
	server, cluster := redistest.Start(t), redistest.StartCluster(t)
	every := func(c *config) { c.policyEvery = 10 * time.Millisecond }
	log, clusterLog := &logRecorder{}, &logRecorder{}
	node(t, server.Client(), log.option(), every)
	node(t, cluster.Client(), clusterLog.option(), every)
	masters := cluster.Masters()
	set := func(policy string) {
		must(t, server.Client().ConfigSet(t.Context(), "maxmemory-policy", policy).Err())
		must(t, masters[1].Client().ConfigSet(t.Context(), "maxmemory-policy", policy).Err())
	}
	for _, step := range []struct{ policy, text string }{
		{"allkeys-random", "maxmemory_policy=allkeys-random"}, {"noeviction", "eviction policy is noeviction again"},
	} {
		set(step.policy)
		for _, l := range []*logRecorder{log, clusterLog} {
			eventually(t, step.text, func() bool { return strings.Contains(l.text(), step.text) })
		}
	}
	time.Sleep(50 * time.Millisecond) // further checks log nothing
	for _, l := range []*logRecorder{log, clusterLog} {
		l.loggedOnce(t, "eviction policy deletes money")
		l.loggedOnce(t, "eviction policy is noeviction again")
	}
}
