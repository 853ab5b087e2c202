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

// Target is where a Redis is, and how to get in. Exactly one of the options is set.
type Target struct {
	Name string // the address without secrets

	Single   *redis.Options
	Sentinel *redis.FailoverOptions
	Cluster  *redis.ClusterOptions
}

// Parse reads an address. Its query has the options that go-redis knows. What the
// address says of user and password goes before what the secrets say.
func Parse(text string, secrets Secrets) (Target, error) {
	a, err := split(text)
	if err != nil {
		return Target{}, err
	}
	if secrets.CA != nil && !a.tls {
		return Target{}, fmt.Errorf("--%s is given, and %s has no TLS: write %s", caFlag, a.name(), strings.Replace(a.name(), "redis", "rediss", 1))
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
	target, err := Target{Name: a.name()}, error(nil)
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

// Client makes a client; the caller closes it.
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

// wait bounds how long a client waits for an answer, unless the address says so, and
// has it ask once.
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

// Ping asks once, with short patience. The error carries exit.Unavailable.
func (t Target) Ping(ctx context.Context) error {
	client := t.impatient().Client()
	defer client.Close()
	err := client.Ping(ctx).Err()
	if reply := redis.Error(nil); errors.As(err, &reply) && !errors.Is(err, redis.Nil) {
		return exit.With(exit.Unavailable, fmt.Errorf("%s refuses to answer: %w; %s", t.Name, err, remedyOf(err)))
	}
	if err != nil {
		return exit.With(exit.Unavailable, fmt.Errorf("no Redis answers at %s: %w; check the address, and that the server runs", t.Name, err))
	}
	return nil
}

// remedyOf a refusal is what to do where a server answers, and says no.
func remedyOf(err error) string {
	switch {
	case redis.IsAuthError(err), redis.HasErrorPrefix(err, "AUTH "):
		return "check the user and the password"
	case redis.IsPermissionError(err):
		return "check the rights of the user"
	case redis.IsLoadingError(err):
		return "wait until it is ready"
	default:
		return "check the address, and the server's log and settings"
	}
}

// masterHook names the master that the Sentinels do not know, where go-redis says nil.
type masterHook struct{ master string }

// DialHook replaces the error.
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

// impatient is the target for a client that tries each server once.
func (t Target) impatient() Target {
	switch {
	case t.Sentinel != nil:
		o := *t.Sentinel
		o.MaxRetries, o.DialerRetries = -1, 1
		return Target{Sentinel: &o}
	case t.Cluster != nil:
		o := *t.Cluster
		o.MaxRedirects, o.DialerRetries = 1, 1
		return Target{Cluster: &o}
	default:
		o := *t.Single
		o.MaxRetries, o.DialerRetries = -1, 1
		return Target{Single: &o}
	}
}
