package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// server is one server under inspection.
type server struct {
	redis.UniversalClient
	everywhere redis.UniversalClient // reaches every key
	cluster    *redis.ClusterClient  // that it was found by, or nil
	cfg        config
	info       map[string]string
	dialect    luascripts.Dialect
}

// inspect makes the checks in the order of what can be asked at all.
func (s *server) inspect(ctx context.Context) []Check {
	reachable := s.reachable(ctx)
	if reachable.Status == CheckFailed {
		return []Check{reachable}
	}
	s.info = serverInfo(ctx, s.UniversalClient)
	rights, scripts := s.scripts(ctx)
	return []Check{
		reachable, s.version(), s.role(), s.topology(), s.eviction(), s.persistence(), s.minReplicas(),
		rights, s.clock(ctx), scripts, s.partitions(ctx),
	}
}

func ok(name, found string) Check { return Check{Name: name, Status: CheckOK, Found: found} }

func warning(name, found, remedy string) Check {
	return Check{Name: name, Status: CheckWarning, Found: found, Remedy: remedy}
}

func failed(name, found, remedy string) Check {
	return Check{Name: name, Status: CheckFailed, Found: found, Remedy: remedy}
}

// untold is a check whose answer the server keeps to itself.
func untold(name, what, remedy string) Check {
	return Check{Name: name, Found: "this server does not tell its " + what, Remedy: remedy}
}

func (s *server) reachable(ctx context.Context) Check {
	began := now()
	err := s.Ping(ctx).Err()
	if err == nil {
		return ok("reachable", "it answers after "+now().Sub(began).Round(10*time.Microsecond).String())
	}
	check := failed("reachable", "no answer: "+err.Error(), "check the address, and that the server runs")
	check.sentinel, check.cause = ErrUnavailable, err
	var reply redis.Error
	if errors.As(err, &reply) && !strings.HasPrefix(reply.Error(), "LOADING") {
		check.Found = "it refuses to answer: " + err.Error()
		check.sentinel, check.Remedy = ErrUnfit, "check the user, the password and the rights"
	}
	return check
}

func (s *server) version() Check {
	version := s.info["redis_version"]
	if version == "" {
		return untold("version", "version", "see to it that it is Redis 7.0 or later")
	}
	if major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); err != nil || major < 7 {
		return failed("version", "version "+version, "use Redis 7.0 or later")
	}
	return ok("version", version)
}

func (s *server) role() Check {
	switch role := s.info["role"]; role {
	case "":
		return untold("role", "role", "see to it that it is a primary")
	case "slave":
		return failed("role", fmt.Sprintf("the server is a replica of %s:%s", s.info["master_host"], s.info["master_port"]),
			"connect to the primary, or through Sentinel or Cluster")
	default:
		return ok("role", "primary with "+s.info["connected_slaves"]+" replicas")
	}
}

func (s *server) topology() Check {
	mode := s.info["redis_mode"]
	switch {
	case mode == "":
		return untold("topology", "mode", "see to it that the client is of the right kind: single server, Sentinel or Cluster")
	case mode == "sentinel":
		return failed("topology", "the server is a Sentinel, which keeps no data", "connect with redis.NewFailoverClient (redis+sentinel:// on the command line)")
	case mode == "cluster" && s.cluster == nil:
		return failed("topology", "the server is part of a Cluster", "connect with redis.NewClusterClient (redis+cluster:// on the command line)")
	case s.cluster != nil:
		if o := s.cluster.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return warning("topology", "the client sends reads to replicas, which may lag", "leave out ReadOnly, RouteByLatency and RouteRandomly")
		}
	}
	return ok("topology", mode)
}

func (s *server) eviction() Check {
	switch policy := s.info["maxmemory_policy"]; policy {
	case "":
		return untold("eviction", "maxmemory-policy", "see to it that it is noeviction: any other deletes money when memory is short")
	case "noeviction":
		return ok("eviction", "maxmemory-policy is noeviction")
	default:
		return failed("eviction", "maxmemory-policy is "+policy+", which deletes money when memory is short", "set it to noeviction")
	}
}

func (s *server) persistence() Check {
	switch {
	case s.info["aof_enabled"] == "":
		return untold("persistence", "persistence", "see to it that it keeps an append-only file")
	case s.info["aof_enabled"] == "0":
		return warning("persistence", "append-only persistence is off; a restart of Redis loses what was acknowledged since the last snapshot",
			"set appendonly yes")
	case s.info["aof_last_write_status"] == "err":
		return warning("persistence", "the append-only file cannot be written", "look at Redis' log; is the disk full?")
	default:
		return ok("persistence", "append-only file on")
	}
}

// minReplicas: INFO counts the replicas in step only where min-replicas-to-write is set.
func (s *server) minReplicas() Check {
	inStep, set := s.info["min_slaves_good_slaves"]
	switch {
	case s.info["connected_slaves"] == "":
		return untold("min-replicas", "replicas", "with replicas, set min-replicas-to-write 1")
	case set && inStep == "0":
		return warning("min-replicas", "no replica is in step, so writes are refused", "bring a replica back, or set min-replicas-to-write 0 for now")
	case set:
		return ok("min-replicas", inStep+" replicas are in step")
	case s.info["connected_slaves"] == "0":
		return ok("min-replicas", "no replicas; nothing to fail over to")
	default:
		return warning("min-replicas", "min-replicas-to-write is 0: a primary that is cut off from its replicas goes on granting, and that is lost at the failover",
			"set min-replicas-to-write 1 and min-replicas-max-lag 10")
	}
}

// maxSkew is how far the clocks may be apart before somebody should know. Deadlines
// are Redis' time, so it matters only to people who compare them with their own.
const maxSkew = 5 * time.Second

func (s *server) clock(ctx context.Context) Check {
	theirs, err := s.Time(ctx).Result()
	if err != nil {
		return untold("clock", "time", "let the user run TIME")
	}
	skew := theirs.Sub(now()).Round(100 * time.Millisecond)
	if skew.Abs() > maxSkew {
		return warning("clock", fmt.Sprintf("Redis' clock is %s from this machine's, and holds end by Redis' clock", skew), "set both by NTP")
	}
	return ok("clock", fmt.Sprintf("within %s of this machine's", maxSkew))
}

// partitions looks at the record of the prefix, and at the partitions of this server.
func (s *server) partitions(ctx context.Context) Check {
	const name = "partitions"
	if old := s.layout1(ctx); old != "" {
		check := failed(name, fmt.Sprintf("prefix %q has budgets in layout 1 (%s), which this program does not read", s.cfg.prefix, old), "use another prefix with WithKeyPrefix")
		check.sentinel = fmt.Errorf("%w: %w", ErrUnfit, ErrLayout)
		return check
	}
	text, err := s.everywhere.Get(ctx, store.RecordKey(s.cfg.prefix)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return ok(name, fmt.Sprintf("prefix %q is not used yet", s.cfg.prefix))
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return failed(name, fmt.Sprintf("key %s is something that Bursar did not write", store.RecordKey(s.cfg.prefix)), "use another prefix with WithKeyPrefix")
	case err != nil:
		return untold(name, "keys", "let the user run GET")
	}
	record, err := adopted(text, s.cfg)
	if err != nil {
		check := failed(name, err.Error(), "use another prefix, or upgrade this program")
		check.sentinel, check.cause = fmt.Errorf("%w: %w", ErrUnfit, ErrLayout), err
		return check
	}
	here := 0
	for i := range record.Partitions {
		keys := store.KeysOf(s.cfg.prefix, record.Partitions, i)
		header, err := s.HGet(ctx, keys.Ledger, store.HeaderField).Result()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return warning(name, fmt.Sprintf("partition %d: key %s is something that Bursar did not write", i, keys.Ledger), "use another prefix with WithKeyPrefix")
		}
		if err != nil {
			continue // not made yet, or another server's
		}
		if h, err := store.ParseHeader(header); err != nil || h.Partitions != record.Partitions || h.Index != i {
			return warning(name, fmt.Sprintf("partition %d of %d has the header %q", i, record.Partitions, header), "run bursar verify")
		}
		here++
	}
	return ok(name, fmt.Sprintf("layout %d; %d of %d partitions of prefix %q are on this server", record.Layout, here, record.Partitions, s.cfg.prefix))
}

// layout1 returns a key of the layout that was never released, or "".
func (s *server) layout1(ctx context.Context) string {
	keys, _, err := s.Scan(ctx, 0, store.QuotePattern(s.cfg.prefix)+":{*}:books", 1000).Result()
	if err != nil || len(keys) == 0 {
		return ""
	}
	return keys[0]
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
	{'HSETNX', ARGV[1], 'f', '1'}, {'HDEL', ARGV[1], 'f'}, {'HSCAN', ARGV[1], '0'}, {'ZADD', ARGV[2], '1', 'm'}, {'ZREM', ARGV[2], 'm'}, {'ZSCORE', ARGV[2], 'm'},
	{'ZRANGEBYSCORE', ARGV[2], '0', '1'}, {'TIME'}, {'EVALSHA', '1', '1', ARGV[1]},
}) do
	if not redis.acl_check_cmd(unpack(command)) then missing[#missing + 1] = command[1] end
end
return table.concat(missing, ' ')`

// scripts runs a script that changes nothing, in the dialect of Redis 7, and asks
// it which rights the user lacks.
func (s *server) scripts(ctx context.Context) (rights, scripts Check) {
	keys := store.KeysOf(s.cfg.prefix, 1, 0)
	began := now()
	missing, err := s.Eval(ctx, "#!lua flags=allow-oom\n"+probeRights, nil, keys.Ledger, keys.Timers).Text()
	rights = ok("rights", "every command that is needed")
	scripts = ok("scripts", "a script answers after "+now().Sub(began).Round(10*time.Microsecond).String())
	var reply redis.Error
	switch {
	case err == nil && missing == "":
		return rights, scripts
	case err == nil:
		rights = failed("rights", fmt.Sprintf("the user lacks the right to %s on keys %s:*", missing, s.cfg.prefix), "grant it with ACL SETUSER")
		return rights, scripts
	case !errors.As(err, &reply):
		scripts = failed("scripts", err.Error(), "check the connection: a PING came through before")
		scripts.sentinel, scripts.cause = ErrUnavailable, err
	case strings.HasPrefix(reply.Error(), "NOPERM"):
		rights = failed("rights", err.Error(), "grant the right with ACL SETUSER")
		rights.cause = err
		scripts = untold("scripts", "scripts' answers", "grant the right first")
		return rights, scripts
	case strings.HasPrefix(reply.Error(), "NOREPLICAS"):
		scripts = warning("scripts", "scripts that write are refused: "+err.Error(), "bring a replica back; calls wait until then")
	case dispatch.Classify(err) == lane.FailureTransient:
		scripts = failed("scripts", err.Error(), "try again; if it stays, look at the server")
		scripts.sentinel, scripts.cause = ErrUnavailable, err
	default:
		scripts = s.bare(ctx)
	}
	return untold("rights", "users' rights", "see to it that the user may run what the operators' page lists"), scripts
}

// bare tries the dialect without a first line: miniredis knows no other. Whoever
// else does not is older than Redis 7.
func (s *server) bare(ctx context.Context) Check {
	if err := s.Eval(ctx, "return 1", nil).Err(); err != nil {
		check := failed("scripts", "it runs no scripts: "+err.Error(), "use a server that runs Lua scripts")
		check.cause = fmt.Errorf("it runs no scripts: %w", err)
		return check
	}
	s.dialect = luascripts.Miniredis
	return warning("scripts", "this server does not know the first line of scripts in Redis 7; is it miniredis?", "use it for trying things out only")
}
