package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// probeRights returns the names of the commands that the user may not run on a
// partition's keys, and, with a question mark before them, those that the server does not
// have. Key names are passed as arguments, not as keys, so that any server of a Cluster
// can be asked.
const probeRights = `
if not redis.acl_check_cmd then return '' end
local missing = {}
for _, command in ipairs({
	{'HMGET', ARGV[1], 'f'}, {'HGET', ARGV[1], 'f'}, {'HSET', ARGV[1], 'f', '1'},
	{'HSETNX', ARGV[1], 'f', '1'}, {'HDEL', ARGV[1], 'f'}, {'HSCAN', ARGV[1], '0'},
	{'ZADD', ARGV[2], '1', 'm'}, {'ZREM', ARGV[2], 'm'}, {'ZSCORE', ARGV[2], 'm'}, {'ZMSCORE', ARGV[2], 'm'},
	{'ZRANGE', ARGV[2], '0', '0'}, {'ZRANGEBYSCORE', ARGV[2], '0', '1'}, {'TIME'},
	{'GET', ARGV[3]}, {'SETNX', ARGV[3], '1'}, {'EVALSHA', '1', '1', ARGV[1]}, {'EVAL', '1', '1', ARGV[1]},
}) do
	local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
	if not known then
		missing[#missing + 1] = '?' .. command[1]
	elseif not allowed then
		missing[#missing + 1] = command[1]
	end
end
return table.concat(missing, ' ')`

// scripts runs a script that changes nothing, in the dialect of Redis 7, by its source
// and by its SHA. The script reports the rights that the user lacks.
func (s *server) scripts(ctx context.Context) (rights, scripts Check) {
	script := redis.NewScript("#!lua flags=allow-oom\n" + probeRights)
	keys := store.KeysOf(s.cfg.Prefix, 1, 0)
	var missing string
	var took time.Duration
	err := s.ask(ctx, func() (err error) {
		began := time.Now()
		missing, err = script.Eval(ctx, s, nil, keys.Ledger, keys.Timers, store.RecordKey(s.cfg.Prefix)).Text()
		took = time.Since(began)
		return err
	})
	if err != nil {
		return s.refused(ctx, "EVAL", err)
	}
	scripts = ok("scripts", "a script answers after "+took.Round(10*time.Microsecond).String())
	if rights = s.rights(missing); rights.Status == CheckFailed {
		return rights, scripts
	}
	err = s.ask(ctx, func() error {
		return script.EvalSha(ctx, s, nil, keys.Ledger, keys.Timers, store.RecordKey(s.cfg.Prefix)).Err()
	})
	if err != nil && !dispatch.HasPrefix(err, "NOSCRIPT") { // a restart since the source was sent
		return s.refused(ctx, "EVALSHA", err)
	}
	return rights, scripts
}

func (s *server) rights(missing string) Check {
	var lacking, unknown []string
	for _, word := range strings.Fields(missing) {
		if name, ok := strings.CutPrefix(word, "?"); ok {
			unknown = append(unknown, name)
		} else {
			lacking = append(lacking, word)
		}
	}
	switch {
	case len(unknown) > 0:
		return noCommand("rights", unknown...)
	case len(lacking) > 0:
		return failed("rights", fmt.Sprintf("the user lacks the right to %s on keys %s:*", strings.Join(lacking, " "), s.cfg.Prefix), "grant it with ACL SETUSER")
	default:
		return ok("rights", "every command that is needed")
	}
}

// refused derives both checks from the error of the script. An unknown error decides
// nothing about the server.
func (s *server) refused(ctx context.Context, command string, err error) (rights, scripts Check) {
	rights = notReported("rights", "users' rights", "make sure that the user may run the commands that OPERATIONS.md lists")
	switch {
	case !isReply(err) || s.silent != nil: // no reply
	case dispatch.HasPrefix(err, "NOPERM"):
		rights = failed("rights", err.Error(), "grant the right with ACL SETUSER")
		rights.cause = err
		scripts = notReported("scripts", "scripts' answers", "grant the right first")
	case dispatch.HasPrefix(err, "NOREPLICAS"):
		scripts = warning("scripts", "scripts that write are refused: "+err.Error(), "bring a replica back; calls wait until then")
	case s.replica:
		scripts = notReported("scripts", "scripts' answers", "connect to the primary first")
	case dispatch.HasPrefix(err, "READONLY"):
		scripts = failed("scripts", "the server is a replica: "+err.Error(), primaryRemedy)
	case Passes(err):
		err = fmt.Errorf("scripts are refused: %w", err)
		scripts = unavailable("scripts", err.Error(), err, "try again; if it stays, look at the server")
	case isWithheld(err):
		scripts = failed("scripts", fmt.Sprintf("it runs no scripts: %s is refused: %v", command, err), "use a server that runs Lua scripts, and has the command under this name")
	case dispatch.HasPrefix(err, "ERR Error compiling script"):
		scripts = s.probeWithoutShebang(ctx, err)
	default:
		scripts = unexpected("scripts", err)
	}
	return rights, scripts
}

// probeWithoutShebang tries the dialect without a first line, the only one that miniredis
// compiles. Redis before 7 rejects the first line as well, but its error names user_script.
func (s *server) probeWithoutShebang(ctx context.Context, refused error) Check {
	if strings.Contains(refused.Error(), "user_script") {
		return failed("scripts", "the server is older than Redis 7.0: "+refused.Error(), "use Redis 7.0 or later")
	}
	if err := s.ask(ctx, func() error { return s.Eval(ctx, "return 1", nil).Err() }); err != nil {
		return unexpected("scripts", err)
	}
	s.dialect = luascripts.Miniredis
	return warning("scripts", "this server does not know the first line of scripts in Redis 7; is it miniredis?", "use it for trying things out only")
}
