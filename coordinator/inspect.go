package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/luascripts"
)

// Check is one thing that a node must know of the Redis that it stands on.
type Check struct {
	Name   string `json:"check"`            // "eviction", for example; see Inspect
	Server string `json:"server,omitempty"` // host:port where there are several servers
	Status Status `json:"status"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // what to do, unless the status is ok

	sentinel error // of New, where the check failed: ErrUnfit unless it says another
	cause    error // of what was found
}

// Status is how a check went.
type Status uint8

// The statuses. New refuses to start where a check failed, and logs the warnings.
const (
	CheckUnknown Status = iota // the server does not tell
	CheckOK
	CheckWarning
	CheckFailed
)

var statusNames = [...]string{CheckUnknown: "unknown", CheckOK: "ok", CheckWarning: "warning", CheckFailed: "failed"}

// String is the status' name in lower case, as in JSON.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// MarshalText writes the name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Err returns nil unless the check failed, and else the error of New: an ErrUnfit, or
// an ErrUnavailable if it may pass later.
func (c Check) Err() error {
	if c.Status != CheckFailed {
		return nil
	}
	sentinel := cmp.Or(c.sentinel, ErrUnfit)
	if c.Server != "" {
		sentinel = fmt.Errorf("%w: %s", sentinel, c.Server)
	}
	if c.cause != nil {
		return fmt.Errorf("%w: %w; %s", sentinel, c.cause, c.Remedy)
	}
	return fmt.Errorf("%w: %s; %s", sentinel, c.Found, c.Remedy)
}

// Inspect makes every check of New, on each server that holds budgets, without
// starting a node, and changes nothing: reachable, version, role, topology,
// eviction, persistence, min-replicas, rights, clock, scripts, layout. A server that
// is out of reach has the first one only, also if ctx ends before, and a Sentinel has
// no more than three. What passes by itself is asked again, as by New. The error is
// about the options.
func Inspect(ctx context.Context, client redis.UniversalClient, opts ...Option) ([]Check, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	checks, _ := inspect(ctx, client, cfg)
	return checks, nil
}

// inspect also returns the dialect that the servers' scripts are written in. It
// keeps to ctx and the call timeout, where go-redis waits for timeouts of its own, or
// has none.
func inspect(ctx context.Context, client redis.UniversalClient, cfg config) ([]Check, luascripts.Dialect) {
	type result struct {
		checks  []Check
		dialect luascripts.Dialect
	}
	done := make(chan result, 1)
	questions := newAsker(cfg.callTimeout)
	go func() {
		checks, dialect := inspectAll(ctx, client, cfg, questions)
		done <- result{checks, dialect}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			if ctx.Err() != nil && slices.ContainsFunc(r.checks, func(c Check) bool { return c.Status == CheckFailed }) {
				return []Check{silence(questions.late(contextError(ctx)))}, luascripts.Redis
			}
			return r.checks, r.dialect
		case <-ctx.Done():
			return []Check{silence(questions.late(contextError(ctx)))}, luascripts.Redis
		case <-tick.C:
			if questions.hangs() {
				return []Check{silence(questions.late(errPatience))}, luascripts.Redis
			}
		}
	}
}

func inspectAll(ctx context.Context, client redis.UniversalClient, cfg config, questions asker) ([]Check, luascripts.Dialect) {
	if redisclient.IsNil(client) {
		return []Check{failed("reachable", "the client is nil", "make one with redis.NewClient, NewFailoverClient or NewClusterClient")}, luascripts.Redis
	}
	if redisclient.IsRing(client) {
		return []Check{failed("topology", "a Ring has no failover that money survives", "use a single server, Sentinel or Cluster")}, luascripts.Redis
	}
	cluster := redisclient.ClusterOf(client)
	if cluster == nil {
		s := server{UniversalClient: client, cfg: cfg, asker: questions}
		return s.inspect(ctx), s.dialect
	}
	var servers []*redis.Client
	asked := questions
	err := asked.ask(ctx, func() (err error) {
		servers, err = masters(ctx, cluster)
		return err
	})
	if err != nil {
		return []Check{noMasters(ctx, cluster, err)}, luascripts.Redis
	}
	var all []Check
	dialect := luascripts.Redis
	for _, master := range servers {
		s := server{UniversalClient: master, cluster: cluster, cfg: cfg, asker: questions}
		for _, check := range s.inspect(ctx) {
			check.Server = master.Options().Addr
			all = append(all, check)
		}
		dialect = max(dialect, s.dialect)
	}
	return all, dialect
}

// start makes the checks for New: what failed is an error, a warning is logged. A
// server that is unfit is no reason to try again, whatever else failed.
func start(ctx context.Context, client redis.UniversalClient, cfg config) (luascripts.Dialect, error) {
	checks, dialect := inspect(ctx, client, cfg)
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
			logger := cfg.logger
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
