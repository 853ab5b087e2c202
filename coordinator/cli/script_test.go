package cli_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/calybris/bursar/bench"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){
		"bursar": asInMain,
		// For scripts that send SIGHUP, since the tests themselves may run on a terminal or
		// under nohup.
		"bursar-on-terminal": func() {
			signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // no longer ignores it
			asInMain()
		},
		"bursar-under-nohup": func() {
			signal.Ignore(syscall.SIGHUP)
			asInMain()
		},
	})
}

// asInMain runs the command as main.go does.
func asInMain() {
	os.Exit(cli.Run(cli.UntilInterrupted(), os.Args, os.Stdout, os.Stderr, bench.Command()))
}

// leakless also fails if goroutines are left.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	for _, variable := range os.Environ() { // the tests must not use the developer's Redis
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "BURSAR_") && name != "BURSAR_REDIS_SERVER" {
			_ = os.Unsetenv(name)
		}
	}
	// By default a process with the race detector sleeps for a second before it exits.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=10")
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the command as a user does, in a separate process. The map below adds
// commands to testscript's own.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{
		filepath.Join("..", "..", "bench", "testdata", "script"),
		filepath.Join("testdata", "script"),
	} {
		testscript.Run(t, testscript.Params{
			Dir: dir, RequireExplicitExec: true, RequireUniqueNames: true,
			Setup: func(env *testscript.Env) error {
				env.Setenv("LONG", strings.Repeat("x", 300))
				env.Setenv("NEWLINE", "ac\nme")
				env.Setenv("GORACE", os.Getenv("GORACE"))
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"exits":          exits,
				"has-fields":     hasFields,
				"redis-server":   redisServer,
				"hold-port":      holdPort,
				"kill-redis":     killRedis,
				"set-key":        setKey,
				"has-keys":       hasKeys,
				"await-spending": awaitSpending,
				"hang-up":        hangUp,
				"corrupt":        corrupt,
				"keys-of":        keysOf,
				"redis":          redisCommand,
				"set-amounts":    setAmounts,
				"damage-hold":    damageHold,
				"capture":        capture,
				"retenant":       retenant,
				"shorten":        shorten,
				"gzip":           compress,
				"pipe":           pipe,
				"await-reader":   awaitReader,
			},
		})
	}
}

// exits CODE COMMAND… runs a command that must exit with the code and, unless that is 0,
// print one line on stderr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if printed := ts.ReadFile("stderr"); code != 0 && (strings.Count(printed, "\n") != 1 || !strings.HasPrefix(printed, "bursar: ")) {
		ts.Fatalf("stderr is not one line of bursar's: %q", printed)
	}
}

// has-fields NAME… fails unless stdout is one JSON object with all these fields.
func hasFields(ts *testscript.TestScript, _ bool, names []string) {
	var got map[string]json.RawMessage
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	ts.Check(decoder.Decode(&got))
	if decoder.More() {
		ts.Fatalf("there is more on stdout than one object")
	}
	for _, name := range names {
		if value := got[name]; len(value) == 0 || bytes.Equal(value, []byte("null")) {
			ts.Fatalf("field %q is missing or null", name)
		}
	}
}

// redis-server LINE… starts a server for the script with these lines of redis.conf, and
// sets $REDIS to its address.
func redisServer(ts *testscript.TestScript, _ bool, lines []string) {
	server, err := redistest.Spawn(context.Background(), redistest.WithConfig(lines...))
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Close()) })
	ts.Setenv("REDIS", server.URL())
	servers.Store(ts, server)
}

// hold-port sets $PORT to a loopback port that is in use.
func holdPort(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "localhost:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv("PORT", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
}

// servers are the Redis servers of the scripts, by script.
var servers sync.Map

// kill-redis kills the script's server.
func killRedis(ts *testscript.TestScript, _ bool, _ []string) {
	server, _ := servers.Load(ts)
	server.(*redistest.Server).Kill()
}

func withRedis(ts *testscript.TestScript, do func(ctx context.Context, client *redis.Client)) {
	options, err := redis.ParseURL(ts.Getenv("REDIS"))
	ts.Check(err)
	client := redis.NewClient(options)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	do(ctx, client)
}

// set-key KEY sets a key that bursar does not use.
func setKey(ts *testscript.TestScript, _ bool, args []string) {
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		ts.Check(client.Set(ctx, args[0], "theirs", 0).Err())
	})
}

// has-keys KEY… fails unless these are all keys on the server.
func hasKeys(ts *testscript.TestScript, _ bool, want []string) {
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		got, err := client.Keys(ctx, "*").Result()
		ts.Check(err)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			ts.Fatalf("the keys are %q, want %q", got, want)
		}
	})
}

// await-spending TENANT [TIMES] waits until a bench has committed costs of the tenant, or
// TIMES the first amount that was seen.
func awaitSpending(ts *testscript.TestScript, _ bool, args []string) {
	tenant, times := budget.TenantID(args[0]), budget.Microcents(1)
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		times = budget.Microcents(n)
	}
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		var first budget.Microcents
		for ctx.Err() == nil {
			for _, keys := range benchKeys(ctx, client, tenant) {
				text, err := client.HGet(ctx, keys.Ledger, store.AccountField(tenant)).Result()
				a, exists, parseErr := store.ParseAccount(text)
				if err != nil || parseErr != nil || !exists || a.Committed == 0 {
					continue
				}
				if first = cmp.Or(first, a.Committed); a.Committed >= times*first {
					return
				}
			}
		}
		ts.Fatalf("no bench has spent enough of %s within a minute", args[0])
	})
}

// hang-up sends SIGHUP to the background commands, as a terminal does when it is closed.
func hangUp(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// benchKeys returns the keys of a tenant's partition for each running bench.
func benchKeys(ctx context.Context, client *redis.Client, tenant budget.TenantID) (all []store.Keys) {
	for _, key := range client.Keys(ctx, store.RecordKey("bursar-bench-*")).Val() {
		if record, err := store.ParseRecord(client.Get(ctx, key).Val()); err == nil {
			prefix := strings.TrimSuffix(key, store.RecordKey(""))
			all = append(all, store.KeysOf(prefix, record.Partitions, store.PartitionOf(tenant, record.Partitions)))
		}
	}
	return all
}

// corruptAccount adds a microcent to remaining without a grant, atomically between two
// batches of the running bench.
var corruptAccount = redis.NewScript(`
local record = redis.call('HGET', KEYS[1], ARGV[1])
local low = struct.unpack('>I4', record, 13)
redis.call('HSET', KEYS[1], ARGV[1], record:sub(1, 12) .. struct.pack('>I4', low + 1) .. record:sub(17))
return 1`)

// corrupt TENANT changes the balance of a tenant of the running bench.
func corrupt(ts *testscript.TestScript, _ bool, args []string) {
	tenant := budget.TenantID(args[0])
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		keys := benchKeys(ctx, client, tenant)
		if len(keys) != 1 {
			ts.Fatalf("%q is a tenant of %v", tenant, keys)
		}
		ts.Check(corruptAccount.Run(ctx, client, []string{keys[0].Ledger}, store.AccountField(tenant)).Err())
	})
}

// keys-of TENANT sets $LEDGER and $TIMERS to the keys of the tenant's partition.
func keysOf(ts *testscript.TestScript, _ bool, args []string) {
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		record, err := store.ParseRecord(client.Get(ctx, store.RecordKey(store.DefaultPrefix)).Val())
		ts.Check(err)
		keys := store.KeysOf(store.DefaultPrefix, record.Partitions, store.PartitionOf(budget.TenantID(args[0]), record.Partitions))
		ts.Setenv("LEDGER", keys.Ledger)
		ts.Setenv("TIMERS", keys.Timers)
	})
}

// redis COMMAND… sends a command to $REDIS. Its words may have escapes as in Go strings.
func redisCommand(ts *testscript.TestScript, _ bool, args []string) {
	words := make([]any, len(args))
	for i, word := range args {
		text, err := strconv.Unquote(`"` + word + `"`)
		ts.Check(err)
		words[i] = text
	}
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		if err := client.Do(ctx, words...).Err(); !errors.Is(err, redis.Nil) {
			ts.Check(err)
		}
	})
}

// set-amounts TENANT GRANTED REMAINING RESERVED COMMITTED overwrites the amounts of an
// account.
func setAmounts(ts *testscript.TestScript, _ bool, args []string) {
	keysOf(ts, false, args[:1])
	ledger, field := ts.Getenv("LEDGER"), store.AccountField(budget.TenantID(args[0]))
	var amounts []byte
	for _, word := range args[1:] {
		amount, err := strconv.ParseInt(word, 10, 64)
		ts.Check(err)
		amounts = binary.BigEndian.AppendUint64(amounts, uint64(amount))
	}
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		record, err := client.HGet(ctx, ledger, field).Bytes()
		ts.Check(err)
		ts.Check(client.HSet(ctx, ledger, field, append(amounts, record[len(amounts):]...)).Err())
	})
}

// damage-hold ID OFFSET BYTES overwrites bytes of a hold's record, or truncates it at the
// offset if BYTES is empty.
func damageHold(ts *testscript.TestScript, _ bool, args []string) {
	id, err := budget.ParseReservationID(args[0])
	ts.Check(err)
	keysOf(ts, false, []string{string(id.Tenant())})
	ledger, field := ts.Getenv("LEDGER"), store.HoldField(id)
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	bytes, err := strconv.Unquote(`"` + args[2] + `"`)
	ts.Check(err)
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		record, err := client.HGet(ctx, ledger, field).Result()
		ts.Check(err)
		changed := record[:offset] + bytes
		if bytes != "" {
			changed += record[len(changed):]
		}
		ts.Check(client.HSet(ctx, ledger, field, changed).Err())
	})
}

// capture NAME sets a variable to the first line of stdout.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
}

// retenant TENANT sets $OTHER to $ID with the same bits and another tenant.
func retenant(ts *testscript.TestScript, _ bool, args []string) {
	id, err := budget.ParseReservationID(ts.Getenv("ID"))
	ts.Check(err)
	hi, lo := id.Bits()
	ts.Setenv("OTHER", budget.NewReservationID(budget.TenantID(args[0]), hi, lo).String())
}

// shorten sets $SHORT to $ID without its last character, like a careless copy.
func shorten(ts *testscript.TestScript, _ bool, _ []string) {
	id := ts.Getenv("ID")
	ts.Setenv("SHORT", id[:len(id)-1])
}

// gzip FILE OTHER compresses FILE into OTHER.
func compress(ts *testscript.TestScript, _ bool, args []string) {
	file, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	w := gzip.NewWriter(file)
	_, err = w.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(errors.Join(err, w.Close(), file.Close()))
}

// pipe FILE creates a named pipe.
func pipe(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("mkfifo", ts.MkAbs(args[0])))
}

// await-reader PIPE waits until a process opens the pipe for reading, and keeps the pipe
// open without writing until the script ends.
func awaitReader(ts *testscript.TestScript, _ bool, args []string) {
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	ts.Defer(func() { ts.Check(file.Close()) })
}
