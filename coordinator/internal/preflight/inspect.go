package preflight

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/luascripts"
)

// Config is the part of a node's configuration that the checks need.
type Config struct {
	Prefix            string
	CallTimeout       time.Duration
	Partitions        int // the requested number, 0 for none
	DefaultPartitions int
	Logger            *slog.Logger
}

// Inspect makes every check and returns the dialect for the servers' scripts. It obeys
// ctx and the call timeout, even while go-redis waits for its own timeouts, or has none.
func Inspect(ctx context.Context, client redis.UniversalClient, cfg Config) ([]Check, luascripts.Dialect) {
	type result struct {
		checks  []Check
		dialect luascripts.Dialect
	}
	done := make(chan result, 1)
	requests := newAsker(cfg.CallTimeout)
	go func() {
		checks, dialect := inspectAll(ctx, client, cfg, requests)
		done <- result{checks, dialect}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			if ctx.Err() != nil && slices.ContainsFunc(r.checks, func(c Check) bool { return c.Status == CheckFailed }) {
				return []Check{silence(requests.late(lane.Interrupted(ctx)))}, luascripts.Redis
			}
			return r.checks, r.dialect
		case <-ctx.Done():
			return []Check{silence(requests.late(lane.Interrupted(ctx)))}, luascripts.Redis
		case <-tick.C:
			if requests.hangs() {
				return []Check{silence(requests.late(errCallTimeout))}, luascripts.Redis
			}
		}
	}
}

func inspectAll(ctx context.Context, client redis.UniversalClient, cfg Config, requests asker) ([]Check, luascripts.Dialect) {
	if redisclient.IsNil(client) {
		return []Check{failed("reachable", "the client is nil", "make one with redis.NewClient, NewFailoverClient or NewClusterClient")}, luascripts.Redis
	}
	if redisclient.IsRing(client) {
		return []Check{failed("topology", "a Ring has no failover that money survives", "use a single server, Sentinel or Cluster")}, luascripts.Redis
	}
	cluster := redisclient.ClusterOf(client)
	if cluster == nil {
		s := server{UniversalClient: client, everywhere: client, cfg: cfg, asker: requests}
		return s.inspect(ctx), s.dialect
	}
	var servers []*redis.Client
	asked := requests
	err := asked.ask(ctx, func() (err error) {
		servers, err = Masters(ctx, cluster)
		return err
	})
	if err != nil {
		return []Check{noMasters(ctx, cluster, err)}, luascripts.Redis
	}
	var all []Check
	dialect := luascripts.Redis
	for _, master := range servers {
		s := server{UniversalClient: master, everywhere: client, cluster: cluster, cfg: cfg, asker: requests}
		for _, check := range s.inspect(ctx) {
			check.Server = master.Options().Addr
			all = append(all, check)
		}
		dialect = max(dialect, s.dialect)
	}
	return all, dialect
}

// Start makes the checks for New: it returns an error for failed checks, and logs
// warnings. If a server is unfit, the error is not ErrUnavailable, whatever else failed.
func Start(ctx context.Context, client redis.UniversalClient, cfg Config) (luascripts.Dialect, error) {
	checks, dialect := Inspect(ctx, client, cfg)
	var unfit, unavailable []error
	for _, check := range checks {
		switch check.Status {
		case CheckFailed:
			if err := check.Err(); errors.Is(err, ErrUnfit) {
				unfit = append(unfit, err)
			} else {
				unavailable = append(unavailable, err)
			}
		case CheckWarning, CheckUnknown:
			logger := cfg.Logger
			if check.Server != "" {
				logger = logger.With("server", check.Server)
			}
			logger.Warn("bursar: "+check.Found, "check", check.Name, "remedy", check.Remedy)
		case CheckOK:
		}
	}
	if len(unfit) > 0 {
		return dialect, errors.Join(unfit...)
	}
	return dialect, errors.Join(unavailable...)
}
