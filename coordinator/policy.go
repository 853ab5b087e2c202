package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/coordinator/redisinfo"
)

// policyEvery is the interval at which a node reads the eviction policy of its servers:
// any policy but noeviction deletes money when memory is short, and it can be set at run
// time.
const policyEvery = 30 * time.Second

// policyWatch logs each change of a server's eviction policy once. It can't watch a
// server that withholds INFO.
type policyWatch struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	unsafe  map[string]string // policies other than noeviction, by server
}

func (c *Coordinator) watchPolicy() {
	w := &c.policy
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsafe = make(map[string]string)
	w.timer = time.AfterFunc(c.config.policyEvery, c.checkPolicy)
}

func (w *policyWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

func (c *Coordinator) checkPolicy() {
	if cluster := redisclient.ClusterOf(c.client); cluster != nil {
		_ = cluster.ForEachMaster(context.Background(), func(_ context.Context, master *redis.Client) error {
			c.checkPolicyOf(master, master.Options().Addr)
			return nil
		}) // masters that can't be found are left to the breakers
	} else {
		c.checkPolicyOf(c.client, "")
	}
	w := &c.policy
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(c.config.policyEvery)
	}
}

func (c *Coordinator) checkPolicyOf(server redis.UniversalClient, address string) {
	reply, err := c.dispatcher.Ask(server, "info", "memory")
	text, ok := reply.(string)
	if err != nil || !ok {
		return
	}
	info := make(redisinfo.Info)
	info.Add(text)
	policy := info["maxmemory_policy"]
	w := &c.policy
	w.mu.Lock()
	defer w.mu.Unlock()
	switch before := w.unsafe[address]; {
	case policy == "" || policy == before:
	case policy != "noeviction":
		w.unsafe[address] = policy
		c.config.logger.Error("bursar: eviction policy deletes money when memory is short", "server", address, "maxmemory_policy", policy, "remedy", "set it to noeviction, then run bursar verify")
	case before != "":
		delete(w.unsafe, address)
		c.config.logger.Info("bursar: eviction policy is noeviction again", "server", address)
	}
}
