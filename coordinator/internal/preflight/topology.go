package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/coordinator/redisinfo"
)

// primaryRemedy is the remedy for a replica.
const primaryRemedy = "connect to the primary, or through Sentinel or Cluster"

// ClusterRemedy is the remedy for a plain client that is connected to a Cluster.
func ClusterRemedy(client redis.UniversalClient) string {
	if client == nil || redisclient.OptionsOf(client) != nil {
		return "connect with redis.NewClusterClient (redis+cluster:// on the command line)"
	}
	return fmt.Sprintf("connect with redis.NewClusterClient; a wrapper (%T) has to embed what that returns", client)
}

// aSentinel returns the failed check of a server that is a Sentinel.
func aSentinel() Check {
	return failed("topology", "the server is a Sentinel, which keeps no data",
		"connect with redis.NewFailoverClient and the name of the master (redis+sentinel:// on the command line)")
}

// isSentinel asks a server that rejected a client. Most Sentinels have no users, and
// another password or none, so it asks without credentials first, then with the client's.
func isSentinel(ctx context.Context, o *redis.Options) bool {
	if o == nil {
		return false
	}
	for _, as := range []redis.Options{{}, {Username: o.Username, Password: o.Password}} {
		client := redis.NewClient(&redis.Options{
			Network: o.Network, Addr: o.Addr, Dialer: o.Dialer, TLSConfig: o.TLSConfig, Username: as.Username, Password: as.Password,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		info := make(redisinfo.Info)
		info.Add(client.Info(ctx, "server").Val())
		_ = client.Close() // only the reply is needed
		if info.Mode() != "" {
			return info.Mode() == "sentinel"
		}
	}
	return false
}

// Masters returns a client of each master of a Cluster.
func Masters(ctx context.Context, cluster redisclient.Cluster) ([]*redis.Client, error) {
	var mu sync.Mutex
	var all []*redis.Client
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = errors.New("no master has slots yet")
	}
	return all, err
}

// noMasters returns the check of a Cluster whose masters cannot be found.
func noMasters(ctx context.Context, cluster redisclient.Cluster, err error) Check {
	const found = "the Cluster's masters cannot be found"
	cause := fmt.Errorf("%s: %w", found, err)
	switch {
	case errors.Is(err, redis.Nil):
		return silence(err)
	case !isReply(err), Passes(err):
		return unavailable("reachable", cause.Error(), cause, "check the addresses, and that the servers run")
	case strings.Contains(err.Error(), "cluster support disabled"):
		check := failed("topology", cause.Error(), "the server is not a Cluster: connect with redis.NewClient (redis:// on the command line)")
		check.cause = cause
		return check
	}
	o := cluster.Options()
	for _, address := range o.Addrs {
		server := &redis.Options{
			Addr: address, Dialer: o.Dialer, TLSConfig: o.TLSConfig, Username: o.Username, Password: o.Password,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		}
		if isSentinel(ctx, server) {
			check := aSentinel()
			check.Found, check.Server = "these servers are Sentinels, which keep no data", address
			return check
		}
	}
	check := refusal("reachable", "CLUSTER", "the right to CLUSTER SLOTS", err)
	check.Found = found + ": " + check.Found
	if check.cause != nil {
		check.cause = fmt.Errorf("%s: %w", found, check.cause)
	}
	return check
}
