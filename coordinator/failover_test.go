package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// failover lets a node use many tenants and promotes a replica that lacks the last writes
// of each partition. It returns the number of the node's commands, and the time, until
// the node has found each loss.
func failover(t testing.TB, tenants int) (commands int, elapsed time.Duration) {
	t.Helper()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	var address atomic.Value
	address.Store(primary.Addr())
	opts := primary.Options()
	opts.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address.Load().(string))
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	count := &lossCount{known: make(map[string]bool)}
	client.AddHook(count)
	c := node(t, client, WithCallTimeout(time.Minute))
	spread(256, tenants, func(i int) { ensureOnce(t, c, numbered("tenant", i)) })
	spread(256, tenants, func(i int) { reserveOnce(t, c, numbered("tenant", i)) })

	promoted := replica.Client()
	// WAIT covers the writes of its own connection only.
	if _, err := primary.Client().Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.Set(t.Context(), "waited", 1, 0)
		pipe.Do(t.Context(), "wait", 1, (10 * time.Second).Milliseconds())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := promoted.ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	for p := range DefaultPartitions {
		for i := 0; ; i++ {
			if tenant := numbered("tenant", i); store.PartitionOf(tenant, DefaultPartitions) == p {
				reserveOnce(t, c, tenant)
				break
			}
		}
	}
	primary.Kill()
	address.Store(replica.Addr())
	count.mu.Lock()
	count.counting = true
	count.mu.Unlock()

	began := time.Now()
	if b, err := c.Balance(t.Context(), "tenant-0"); err != nil || b.Outcome != budget.Found { // one call encounters the failover
		t.Fatal(b, err)
	}
	for !count.complete() {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the node has not noticed every loss: %v", count.known)
		}
		time.Sleep(time.Millisecond)
	}
	return count.commands, time.Since(began)
}

// lossCount counts the commands to each partition that a server answered, up to the one
// that shows the loss there.
type lossCount struct {
	mu       sync.Mutex
	counting bool
	commands int
	known    map[string]bool // by key
}

func (l *lossCount) complete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known) == DefaultPartitions
}

func (l *lossCount) note(failure error, cmds ...redis.Cmder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cmd := range cmds {
		script, ok := cmd.(interface{ Text() (string, error) })
		if !l.counting || !ok || !strings.HasPrefix(cmd.Name(), "eval") {
			continue
		}
		key := fmt.Sprint(cmd.Args()[3])
		text, err := script.Text()
		if reply := redis.Error(nil); l.known[key] || err != nil && !errors.As(errors.Join(err, failure), &reply) {
			continue // not answered by a server
		}
		l.commands++
		if strings.HasPrefix(text, store.WordGap) {
			l.known[key] = true
		}
	}
}

func (l *lossCount) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *lossCount) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.note(err, cmd)
		return err
	}
}

func (l *lossCount) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		l.note(err, cmds...)
		return err
	}
}

// A node finds the losses of a failover with two commands for each partition, however
// many tenants it uses: one with the script's SHA and, since a promoted server does not
// have the script, one with its source.
func TestFailoverTakesTwoCommandsPerPartition(t *testing.T) {
	t.Parallel()
	commands, elapsed := failover(t, 10_000)
	t.Logf("%d commands, %s", commands, elapsed)
	if commands > 2*DefaultPartitions {
		t.Errorf("%d commands until the node found every loss, want at most %d", commands, 2*DefaultPartitions)
	}
}

// BenchmarkFailover reports the commands of a node that uses 100,000 tenants, from a
// failover until it has found every loss. Run it with -benchtime=1x.
func BenchmarkFailover(b *testing.B) {
	for b.Loop() {
		commands, elapsed := failover(b, 100_000)
		b.ReportMetric(float64(commands), "commands")
		b.ReportMetric(float64(commands)/DefaultPartitions, "commands/partition")
		b.ReportMetric(elapsed.Seconds(), "s")
	}
}
