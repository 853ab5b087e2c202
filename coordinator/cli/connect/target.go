package connect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Target is the address of a Redis with the options to connect to it. Exactly one of
// Single, Sentinel and Cluster is set.
type Target struct {
	Name string // the address without secrets

	Single   *redis.Options
	Sentinel *redis.FailoverOptions
	Cluster  *redis.ClusterOptions

	address   address
	certified bool // the client has a certificate
}

// Parse parses an address, whose query may have go-redis' options, and reads the files
// that the secrets name. The user and the password of the address take precedence over
// those of the secrets.
func Parse(text string, secrets Secrets) (Target, error) {
	a, err := split(strings.TrimSpace(text))
	if err != nil {
		return Target{}, err
	}
	if err := secrets.checkTLS(a); err != nil {
		return Target{}, err
	}
	target, err := a.target(secrets.after(a.user))
	if err != nil {
		return Target{}, fmt.Errorf("the Redis URL %s: %w", a.name(), err)
	}
	return target, nil
}

func (a address) target(s Secrets) (Target, error) {
	if err := a.checkSizes(); err != nil {
		return Target{}, err
	}
	target, err := Target{Name: a.name(), address: a, certified: s.Cert != ""}, error(nil)
	switch a.kind {
	case sentinel:
		target.Sentinel, err = a.failoverOptions(s)
	case cluster:
		target.Cluster, err = a.clusterOptions(s)
	case single:
		target.Single, err = a.singleOptions(s)
	}
	return target, err
}

// Client returns a new client, which the caller must close.
func (t Target) Client() redis.UniversalClient {
	switch {
	case t.Sentinel != nil:
		client := redis.NewFailoverClient(t.Sentinel)
		client.AddHook(masterHook{t.Sentinel.MasterName})
		return client
	case t.Cluster != nil:
		return redis.NewClusterClient(t.Cluster)
	default:
		return redis.NewClient(t.Single)
	}
}

// clone returns a copy whose options may be changed.
func (t Target) clone() Target {
	switch {
	case t.Sentinel != nil:
		o := *t.Sentinel
		t.Sentinel = &o
	case t.Cluster != nil:
		o := *t.Cluster
		t.Cluster = &o
	default:
		o := *t.Single
		t.Single = &o
	}
	return t
}

// wait sets the client's timeouts and turns retries off, unless the address sets them. A
// Cluster's client still retries as often as it follows redirections.
func (t *Target) wait(timeout time.Duration) {
	within := func(dial, read, write *time.Duration) {
		*dial, *read, *write = cmp.Or(*dial, timeout), cmp.Or(*read, timeout), cmp.Or(*write, timeout)
	}
	switch {
	case t.Sentinel != nil:
		within(&t.Sentinel.DialTimeout, &t.Sentinel.ReadTimeout, &t.Sentinel.WriteTimeout)
		t.Sentinel.MaxRetries = cmp.Or(t.Sentinel.MaxRetries, -1)
	case t.Cluster != nil:
		within(&t.Cluster.DialTimeout, &t.Cluster.ReadTimeout, &t.Cluster.WriteTimeout)
	default:
		within(&t.Single.DialTimeout, &t.Single.ReadTimeout, &t.Single.WriteTimeout)
		t.Single.MaxRetries = cmp.Or(t.Single.MaxRetries, -1)
	}
}

// Ping sends a PING without retries, since an address that does not answer is usually a
// typing error, and waits at most until ctx ends. Errors carry exit.Unavailable.
func (t Target) Ping(ctx context.Context) error {
	client := t.SingleAttempt().Until(ctx).Client()
	defer client.Close()
	err := client.Ping(ctx).Err()
	if reply := redis.Error(nil); errors.As(err, &reply) && !errors.Is(err, redis.Nil) {
		return exit.With(exit.Unavailable, fmt.Errorf("%s refuses to answer: %w; %s", t.Name, err, remedyOfReply(err)))
	}
	if err != nil {
		found, remedy := t.Diagnose(ctx, t.explain(err).Error())
		return exit.With(exit.Unavailable, fmt.Errorf("no Redis answers at %s: %s; %s", t.Name, found, cmp.Or(remedy, checkAddress)))
	}
	return nil
}

// explain replaces a nil reply of a Sentinel with an error that names the master.
func (t Target) explain(err error) error {
	if t.Sentinel != nil && errors.Is(err, redis.Nil) {
		return fmt.Errorf("the Sentinels watch no master %q", t.Sentinel.MasterName)
	}
	return err
}

// masterHook names the master that the Sentinels do not watch; go-redis only returns Nil.
type masterHook struct{ master string }

// DialHook replaces redis.Nil.
func (h masterHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if errors.Is(err, redis.Nil) {
			err = fmt.Errorf("the Sentinels watch no master %q", h.master)
		}
		return conn, err
	}
}

// ProcessHook changes nothing.
func (masterHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook changes nothing.
func (masterHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// SingleAttempt returns a target for clients that try each server once.
func (t Target) SingleAttempt() Target {
	t = t.clone()
	switch {
	case t.Sentinel != nil:
		t.Sentinel.MaxRetries, t.Sentinel.DialerRetries = -1, 1
	case t.Cluster != nil:
		t.Cluster.MaxRedirects, t.Cluster.DialerRetries = 1, 1
	default:
		t.Single.MaxRetries, t.Single.DialerRetries = -1, 1
	}
	return t
}

// Pool returns a target for clients with a pool of size connections to each server. A
// size of 0 keeps that of the address, or go-redis' default.
func (t Target) Pool(size int) Target {
	if size == 0 {
		return t
	}
	t = t.clone()
	switch {
	case t.Sentinel != nil:
		t.Sentinel.PoolSize = size
	case t.Cluster != nil:
		t.Cluster.PoolSize = size
	default:
		t.Single.PoolSize = size
	}
	return t
}
