package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

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

// err is what New returns for a failed check.
func (c Check) err() error {
	sentinel := c.sentinel
	if sentinel == nil {
		sentinel = ErrUnfit
	}
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
// eviction, persistence, min-replicas, rights, clock, scripts, partitions. A server that
// is out of reach has the first one only; where ctx ends before, that is all there is.
// The error is about the options.
func Inspect(ctx context.Context, client redis.UniversalClient, opts ...Option) ([]Check, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	checks, _ := inspect(ctx, client, cfg)
	return checks, nil
}

// inspect also returns the dialect that the servers' scripts are written in. It
// keeps to ctx, where go-redis may wait for timeouts of its own.
func inspect(ctx context.Context, client redis.UniversalClient, cfg config) ([]Check, luascripts.Dialect) {
	type result struct {
		checks  []Check
		dialect luascripts.Dialect
	}
	done := make(chan result, 1)
	go func() {
		checks, dialect := inspectAll(ctx, client, cfg)
		done <- result{checks, dialect}
	}()
	select {
	case r := <-done:
		return r.checks, r.dialect
	case <-ctx.Done():
		err := fmt.Errorf("no answer in time: %w", context.Cause(ctx))
		check := failed("reachable", err.Error(), "check the address, and that the server runs, or wait longer")
		check.sentinel, check.cause = ErrUnavailable, err
		return []Check{check}, luascripts.Redis
	}
}

func inspectAll(ctx context.Context, client redis.UniversalClient, cfg config) ([]Check, luascripts.Dialect) {
	fail := func(name string, sentinel error, found, remedy string) []Check {
		return []Check{{Name: name, Status: CheckFailed, Found: found, Remedy: remedy, sentinel: sentinel}}
	}
	if isNil(client) {
		return fail("reachable", ErrUnfit, "the client is nil", "make one with redis.NewClient, NewFailoverClient or NewClusterClient"), luascripts.Redis
	}
	switch c := client.(type) {
	case *redis.Ring:
		return fail("topology", ErrUnfit, "a Ring has no failover that money survives", "use a single server, Sentinel or Cluster"), luascripts.Redis
	case *redis.ClusterClient:
		masters, err := masters(ctx, c)
		if err != nil {
			return []Check{noMasters(err)}, luascripts.Redis
		}
		var all []Check
		dialect := luascripts.Redis
		for _, master := range masters {
			s := server{UniversalClient: master, everywhere: c, cluster: c, cfg: cfg}
			for _, check := range s.inspect(ctx) {
				check.Server = master.Options().Addr
				all = append(all, check)
			}
			dialect = max(dialect, s.dialect)
		}
		return all, dialect
	default:
		s := server{UniversalClient: c, everywhere: c, cfg: cfg}
		return s.inspect(ctx), s.dialect
	}
}

// noMasters says why a Cluster's masters cannot be asked.
func noMasters(err error) Check {
	err = fmt.Errorf("the Cluster's masters cannot be found: %w", err)
	check := failed("reachable", err.Error(), "check the addresses, and that the servers run")
	check.sentinel, check.cause = ErrUnavailable, err
	if reply := redis.Error(nil); errors.As(err, &reply) {
		check.sentinel, check.Remedy = ErrUnfit, "check the user, the password and the right to CLUSTER SLOTS"
		if strings.Contains(reply.Error(), "cluster support disabled") {
			check.Name, check.Remedy = "topology", "the server is no Cluster: connect with redis.NewClient (redis:// on the command line)"
		}
	}
	return check
}

// preflight makes the checks for New: what failed is an error, a warning is logged.
func preflight(ctx context.Context, client redis.UniversalClient, cfg config) (luascripts.Dialect, error) {
	checks, dialect := inspect(ctx, client, cfg)
	var errs []error
	for _, check := range checks {
		switch check.Status {
		case CheckFailed:
			errs = append(errs, check.err())
		case CheckWarning, CheckUnknown:
			logger := cfg.logger
			if check.Server != "" {
				logger = logger.With("server", check.Server)
			}
			logger.Warn("bursar: "+check.Found, "check", check.Name, "remedy", check.Remedy)
		case CheckOK:
		}
	}
	return dialect, errors.Join(errs...)
}

func isNil(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case nil:
		return true
	case *redis.Client:
		return c == nil
	case *redis.ClusterClient:
		return c == nil
	default:
		return false
	}
}

func masters(ctx context.Context, cluster *redis.ClusterClient) ([]*redis.Client, error) {
	found := make(chan *redis.Client, 1024)
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		found <- node
		return nil
	})
	close(found)
	var all []*redis.Client
	for node := range found {
		all = append(all, node)
	}
	return all, err
}
