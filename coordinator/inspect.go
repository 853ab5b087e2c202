package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// inspect checks what the coordinator would stand on, every master of a cluster,
// and returns the dialect of its scripts. What cannot be asked (miniredis, some
// managed services) is a warning.
func inspect(ctx context.Context, client redis.UniversalClient, cfg config) (luascripts.Dialect, error) {
	var inspectErr error
	dialect := luascripts.Redis
	one := func(ctx context.Context, node redis.UniversalClient) {
		d, err := inspectServer(ctx, node, cfg)
		if _, isCluster := client.(*redis.ClusterClient); !isCluster && err == nil && serverInfo(ctx, node)["redis_mode"] == "cluster" {
			err = fmt.Errorf("%w: the server is part of a Cluster; connect with redis.NewClusterClient", ErrUnfit)
		}
		if d == luascripts.Bare {
			dialect = d
		}
		inspectErr = errors.Join(inspectErr, err)
	}
	if isNil(client) {
		return dialect, fmt.Errorf("%w: the client is nil; make one with redis.NewClient, NewFailoverClient or NewClusterClient", ErrUnfit)
	}
	switch c := client.(type) {
	case *redis.Ring:
		return dialect, fmt.Errorf("%w: a Ring has no failover that money survives; use a single server, Sentinel or Cluster", ErrUnfit)
	case *redis.ClusterClient:
		masters, err := masters(ctx, c)
		if err != nil {
			return dialect, fmt.Errorf("%w: finding the cluster's masters: %w", ErrUnavailable, err)
		}
		for _, master := range masters {
			one(ctx, master)
		}
	default:
		one(ctx, c)
	}
	return dialect, inspectErr
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

// inspectServer checks one server.
func inspectServer(ctx context.Context, node redis.UniversalClient, cfg config) (luascripts.Dialect, error) {
	if err := node.Ping(ctx).Err(); err != nil {
		return luascripts.Redis, unreachable(err)
	}
	info := serverInfo(ctx, node)
	version := info["redis_version"]
	if version == "" {
		cfg.logger.Warn("bursar: this server does not tell its version, role and eviction policy; they are not checked")
	} else if major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); err != nil || major < 7 {
		return luascripts.Redis, fmt.Errorf("%w: version %s; use Redis 7.0 or later", ErrUnfit, version)
	}
	if info["role"] == "slave" {
		return luascripts.Redis, fmt.Errorf("%w: the server is a replica of %s:%s; connect to the primary, or through Sentinel or Cluster", ErrUnfit, info["master_host"], info["master_port"])
	}
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		return luascripts.Redis, fmt.Errorf("%w: maxmemory-policy is %s, which deletes money when memory is short; set it to noeviction", ErrUnfit, policy)
	}
	if info["aof_enabled"] == "0" {
		cfg.logger.Warn("bursar: append-only persistence is off; a restart of Redis loses what was acknowledged since the last snapshot")
	}
	return probeScripts(ctx, node, cfg)
}

func unreachable(err error) error {
	var reply redis.Error
	if errors.As(err, &reply) && !strings.HasPrefix(reply.Error(), "LOADING") {
		return fmt.Errorf("%w: %w; check the user, the password and the rights", ErrUnfit, err)
	}
	return fmt.Errorf("%w: %w; check the address and that the server runs", ErrUnavailable, err)
}

// serverInfo returns what INFO tells; nothing where it may not be asked.
func serverInfo(ctx context.Context, node redis.UniversalClient) map[string]string {
	info := make(map[string]string)
	for _, section := range []string{"server", "replication", "memory", "persistence"} {
		text, err := node.Info(ctx, section).Result()
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				info[name] = value
			}
		}
	}
	return info
}

// probeRights names the commands that the user may not run on a family's keys.
// The names come as arguments, not as keys: any server of a cluster may be asked.
const probeRights = `
if not redis.acl_check_cmd then return '' end
local missing = {}
for _, command in ipairs({
	{'HMGET', ARGV[1], 'f'}, {'HGET', ARGV[1], 'f'}, {'HGETALL', ARGV[1]}, {'HSET', ARGV[1], 'f', '1'},
	{'HSETNX', ARGV[1], 'f', '1'}, {'HDEL', ARGV[1], 'f'}, {'ZADD', ARGV[2], '1', 'm'}, {'ZREM', ARGV[2], 'm'},
	{'ZRANGEBYSCORE', ARGV[2], '0', '1'}, {'TIME'}, {'EVALSHA', '1', '1', ARGV[1]},
}) do
	if not redis.acl_check_cmd(unpack(command)) then missing[#missing + 1] = command[1] end
end
return table.concat(missing, ' ')`

// probeScripts runs a script that changes nothing, in the dialect of Redis 7,
// and asks it which rights the user lacks.
func probeScripts(ctx context.Context, node redis.UniversalClient, cfg config) (luascripts.Dialect, error) {
	keys := layout.KeysOf(cfg.prefix, "probe")
	missing, err := node.Eval(ctx, "#!lua flags=allow-oom\n"+probeRights, nil, keys.Books, keys.Timers).Text()
	var reply redis.Error
	switch {
	case err == nil && missing == "":
		return luascripts.Redis, nil
	case err == nil:
		return luascripts.Redis, fmt.Errorf("%w: the user lacks the right to %s on keys %s:*; grant it with ACL SETUSER", ErrUnfit, missing, cfg.prefix)
	case !errors.As(err, &reply):
		return luascripts.Redis, unreachable(err)
	case strings.HasPrefix(reply.Error(), "NOPERM"):
		return luascripts.Redis, fmt.Errorf("%w: %w; grant the right with ACL SETUSER", ErrUnfit, err)
	}
	// miniredis refuses the first line; whoever else does is older than Redis 7.
	if bareErr := node.Eval(ctx, "return 1", nil).Err(); bareErr != nil {
		return luascripts.Redis, fmt.Errorf("%w: it runs no scripts: %w", ErrUnfit, bareErr)
	}
	cfg.logger.Warn("bursar: this server does not know the first line of scripts in Redis 7; is it miniredis?")
	return luascripts.Bare, nil
}
