package preflight

import (
	"cmp"
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
	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/coordinator/redisinfo"
	"github.com/calybris/bursar/coordinator/wording"
	"github.com/calybris/bursar/luascripts"
)

// server is one server under inspection.
type server struct {
	redis.UniversalClient
	asker
	everywhere redis.UniversalClient // client that reaches every server
	cluster    redisclient.Cluster   // through which it was found, or nil
	cfg        Config
	info       redisinfo.Info
	infoErr    error // error of INFO other than a refusal
	dialect    luascripts.Dialect
}

// inspect makes the checks, as far as the server can be asked.
func (s *server) inspect(ctx context.Context) []Check {
	checks := []Check{s.reachable(ctx)}
	if checks[0].Status == CheckFailed {
		return checks
	}
	s.readInfo(ctx)
	if s.info.Mode() == "sentinel" {
		checks = append(checks, s.version(), s.topology())
	} else {
		rights, scripts := s.scripts(ctx)
		checks = append(checks, s.version(), s.role(), s.topology(), s.eviction(), s.persistence(), s.minReplicas(),
			rights, s.clock(ctx), scripts, s.partitions(ctx))
	}
	if s.silent != nil {
		return []Check{silence(s.silent)}
	}
	return checks
}

func ok(name, found string) Check { return Check{Name: name, Status: CheckOK, Found: found} }

func warning(name, found, remedy string) Check {
	return Check{Name: name, Status: CheckWarning, Found: found, Remedy: remedy}
}

func failed(name, found, remedy string) Check {
	return Check{Name: name, Status: CheckFailed, Found: found, Remedy: remedy}
}

// notReported returns a check of a property that the server does not report.
func notReported(name, what, remedy string) Check {
	return Check{Name: name, Found: "the server does not report its " + what, Remedy: remedy}
}

// unavailable returns a failed check that may pass later.
func unavailable(name, found string, cause error, remedy string) Check {
	check := failed(name, found, remedy)
	check.sentinel, check.cause = lane.ErrUnavailable, cause
	return check
}

// unexpected returns a check that failed with an unexpected reply.
func unexpected(name string, err error) Check {
	err = fmt.Errorf("unexpected reply: %w", err)
	return unavailable(name, err.Error(), err, "try again; if it persists, check the server and the network")
}

// noCommand returns a failed check of a server without some commands.
func noCommand(name string, commands ...string) Check {
	return failed(name, "the server has no command "+strings.Join(commands, ", "), "let it have the command under this name: look for rename-command in its configuration")
}

// silence returns the only check of a server that does not answer.
func silence(err error) Check {
	if errors.Is(err, redis.Nil) {
		// redis.Nil itself would look like the reply to a command.
		err = errors.New("the Sentinels watch no master by the name that the client was given")
		return unavailable("reachable", "no answer: "+err.Error(), err, "check MasterName, and that the Sentinels know the master by now")
	}
	return unavailable("reachable", "no answer: "+err.Error(), err, "check the address, and that the server runs")
}

func (s *server) reachable(ctx context.Context) Check {
	var began time.Time
	err := s.ask(ctx, func() error {
		began = time.Now()
		return s.Ping(ctx).Err()
	})
	switch {
	case err == nil:
		return ok("reachable", "it answers after "+time.Since(began).Round(10*time.Microsecond).String())
	case !isReply(err), Passes(err), s.silent != nil:
		return silence(err)
	case isSentinel(ctx, redisclient.OptionsOf(s.UniversalClient)):
		return aSentinel()
	default:
		return refusal("reachable", "PING", "the rights", err)
	}
}

// refusal returns the failed check of a command that was refused for lack of rights.
func refusal(name, command, rights string, err error) Check {
	if isUnknownCommand(err) {
		return noCommand(name, command)
	}
	if !redis.IsAuthError(err) && !dispatch.HasPrefix(err, "NOPERM", "DENIED", "AUTH ", "ERR AUTH ", "ERR Client sent AUTH", "ERR invalid password") {
		return unexpected(name, err)
	}
	check := failed(name, "it refuses to answer: "+err.Error(), "check the user, the password and "+rights)
	check.cause = err
	return check
}

func (s *server) version() Check {
	product, version := s.info.Product()
	if s.infoErr != nil {
		return unexpected("version", s.infoErr)
	}
	if version == "" {
		return notReported("version", "version", "make sure that it is Redis 7.0 or later")
	}
	compatible := cmp.Or(s.info["redis_version"], version)
	if major, err := strconv.Atoi(strings.SplitN(compatible, ".", 2)[0]); err != nil || major < 7 {
		return failed("version", product+" "+version, "use Redis 7.0 or later")
	}
	return ok("version", product+" "+version)
}

func (s *server) role() Check {
	switch role := s.info["role"]; role {
	case "":
		return notReported("role", "role", "make sure that it is a primary")
	case "slave":
		return failed("role", fmt.Sprintf("the server is a replica of %s:%s", s.info["master_host"], s.info["master_port"]), primaryRemedy)
	default:
		return ok("role", "primary with "+s.info["connected_slaves"]+" replicas")
	}
}

func (s *server) topology() Check {
	mode := s.info.Mode()
	switch {
	case mode == "":
		return notReported("topology", "mode", "make sure that the client is of the right kind: single server, Sentinel or Cluster")
	case mode == "sentinel":
		return aSentinel()
	case mode == "cluster" && s.cluster == nil:
		return failed("topology", "the server is part of a Cluster", ClusterRemedy(s.UniversalClient))
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
		return notReported("eviction", "maxmemory-policy", "make sure that it is noeviction: any other policy deletes money when memory is short")
	case "noeviction":
		return ok("eviction", "maxmemory-policy is noeviction")
	default:
		return failed("eviction", "maxmemory-policy is "+policy+", which deletes money when memory is short", "set it to noeviction")
	}
}

func (s *server) persistence() Check {
	switch {
	case s.info["aof_enabled"] == "":
		return notReported("persistence", "persistence", "make sure that it keeps an append-only file")
	case s.info["aof_enabled"] == "0":
		return warning("persistence", "append-only persistence is off; a restart of Redis loses every change since the last snapshot",
			"set appendonly yes")
	case s.info["aof_last_write_status"] == "err":
		return warning("persistence", "the append-only file cannot be written", "look at Redis' log; is the disk full?")
	default:
		return ok("persistence", "append-only file on")
	}
}

// minReplicas checks min-replicas-to-write: INFO counts replicas in step only if set.
func (s *server) minReplicas() Check {
	inStep, set := s.info["min_slaves_good_slaves"]
	switch {
	case s.info["connected_slaves"] == "":
		return notReported("min-replicas", "replicas", "with replicas, set min-replicas-to-write 1")
	case set && inStep == "0":
		return warning("min-replicas", "no replica is in step, so writes are refused", "bring a replica back, or set min-replicas-to-write 0 for now")
	case set:
		return ok("min-replicas", inStep+" replicas are in step")
	case s.info["connected_slaves"] == "0":
		return ok("min-replicas", "no replicas; nothing to fail over to")
	default:
		return warning("min-replicas", "min-replicas-to-write is 0: a primary that is cut off from its replicas keeps granting, and those grants are lost at the failover",
			"set min-replicas-to-write 1 and min-replicas-max-lag 10")
	}
}

// maxSkew is the largest difference of clocks without a warning. Deadlines are in Redis'
// time, so it matters only to people who compare them with their own clock.
const maxSkew = 5 * time.Second

func (s *server) clock(ctx context.Context) Check {
	var theirs time.Time
	err := s.ask(ctx, func() (err error) {
		theirs, err = s.Time(ctx).Result()
		return err
	})
	if err != nil {
		return notReported("clock", "time", "let the user run TIME")
	}
	skew := time.Until(theirs).Round(100 * time.Millisecond)
	if skew.Abs() > maxSkew {
		return warning("clock", fmt.Sprintf("Redis' clock is %s from this machine's, and holds end by Redis' clock", skew), "set both by NTP")
	}
	return ok("clock", fmt.Sprintf("within %s of this machine's", maxSkew))
}

// partitions checks the record of the prefix, and the partitions of this server.
func (s *server) partitions(ctx context.Context) Check {
	const name = "partitions"
	if old := s.layout1(ctx); old != "" {
		check := failed(name, fmt.Sprintf("prefix %q has budgets in layout 1 (%s), which this program does not read", s.cfg.Prefix, old), "use another prefix with WithKeyPrefix")
		check.sentinel = fmt.Errorf("%w: %w", ErrUnfit, lane.ErrLayout)
		return check
	}
	if s.info.Mode() == "cluster" && s.cluster == nil { // the topology check fails
		return ok(name, "not read: they are on all servers of the Cluster")
	}
	key := store.RecordKey(s.cfg.Prefix)
	var text string
	err := s.ask(ctx, func() (err error) {
		text, err = s.everywhere.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			text, err = "", nil
		}
		return err
	})
	switch {
	case err == nil && text == "":
		return ok(name, fmt.Sprintf("prefix %q is not used yet", s.cfg.Prefix))
	case s.cluster == nil && dispatch.HasPrefix(err, "MOVED ", "ASK "):
		check := failed(name, "the server is part of a Cluster: "+err.Error(), ClusterRemedy(s.UniversalClient))
		check.cause = fmt.Errorf("the server is part of a Cluster: %w", err)
		return check
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return failed(name, fmt.Sprintf("key %s is something that Bursar did not write", key), "use another prefix with WithKeyPrefix")
	case err != nil:
		return notReported(name, "keys", "let the user run GET")
	}
	record, err := adopted(text, s.cfg)
	if err != nil {
		check := failed(name, err.Error(), "use another prefix, or the program that wrote it")
		check.sentinel, check.cause = fmt.Errorf("%w: %w", ErrUnfit, lane.ErrLayout), err
		return check
	}
	headers, err := s.headers(ctx, record)
	if err != nil {
		return notReported(name, "keys", "let the user run HGET")
	}
	here, used := 0, 0
	for i, header := range headers {
		text, err := header.Result()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			return warning(name, fmt.Sprintf("partition %d: key %s is something that Bursar did not write", i, store.KeysOf(s.cfg.Prefix, record.Partitions, i).Ledger), "use another prefix with WithKeyPrefix")
		}
		if errors.Is(err, redis.Nil) {
			here++ // not created yet
			continue
		}
		if err != nil {
			continue // on another server
		}
		if h, err := store.ParseHeader(text); err != nil || h.Partitions != record.Partitions || h.Index != i {
			return warning(name, fmt.Sprintf("partition %d of %d has the header %q", i, record.Partitions, text), "run bursar verify")
		}
		here++
		used++
	}
	return ok(name, fmt.Sprintf("layout %d; this server has %d of the %s of prefix %q, %d of them in use", record.Layout, here, wording.Count(record.Partitions, "partition"), s.cfg.Prefix, used))
}

// headers returns the header that the server has for each partition.
func (s *server) headers(ctx context.Context, record store.Record) ([]*redis.StringCmd, error) {
	headers := make([]*redis.StringCmd, record.Partitions)
	err := s.ask(ctx, func() error {
		pipe := s.Pipeline()
		for i := range headers {
			headers[i] = pipe.HGet(ctx, store.KeysOf(s.cfg.Prefix, record.Partitions, i).Ledger, store.HeaderField)
		}
		_, _ = pipe.Exec(ctx) // each command carries its own error
		for _, header := range headers {
			if err := header.Err(); err != nil && !errors.Is(err, redis.Nil) && !isReply(err) {
				return err
			}
		}
		return nil
	})
	return headers, err
}

// layout1 returns a key of layout 1, which was never released, or "".
func (s *server) layout1(ctx context.Context) (key string) {
	_ = s.ask(ctx, func() error { // no result without the right to scan
		keys, _, err := s.Scan(ctx, 0, store.QuotePattern(s.cfg.Prefix)+":{*}:books", 1000).Result()
		if len(keys) > 0 {
			key = keys[0]
		}
		return err
	})
	return key
}

// readInfo reads INFO, and leaves out the sections that it may not read.
func (s *server) readInfo(ctx context.Context) {
	s.info = make(redisinfo.Info)
	for _, section := range []string{"server", "replication", "memory", "persistence"} {
		err := s.ask(ctx, func() error {
			text, err := s.Info(ctx, section).Result()
			s.info.Add(text)
			return err
		})
		if err != nil && !isWithheld(err) {
			s.infoErr = err
		}
	}
	s.replica = s.info["role"] == "slave"
}
