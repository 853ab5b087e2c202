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
		// The tests may have been started by nohup, or on a terminal: what is sent SIGHUP
		// says which of both it is meant to be.
		"bursar-on-terminal": func() {
			signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // ignores it no longer
			asInMain()
		},
		"bursar-under-nohup": func() {
			signal.Ignore(syscall.SIGHUP)
			asInMain()
		},
	})
}

// asInMain is what main.go does.
func asInMain() {
	os.Exit(cli.Run(cli.UntilInterrupted(), os.Args, os.Stdout, os.Stderr, bench.Command()))
}

// leakless also fails where a goroutine is left.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	for _, variable := range os.Environ() { // the tests are not about the developer's own Redis
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "BURSAR_") && name != "BURSAR_REDIS_SERVER" {
			_ = os.Unsetenv(name)
		}
	}
	// A process with the race detector sleeps for a second before it exits.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=10")
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the command the way a person does, as a process of its own. Beside
// testscript's own commands there are those of the map below.
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

// exits CODE COMMAND… runs a command that must end with a code, and with one
// line on stderr unless that is 0.
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
	if said := ts.ReadFile("stderr"); code != 0 && (strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "bursar: ")) {
		ts.Fatalf("stderr is not one line of bursar's: %q", said)
	}
}

// has-fields NAME… reads stdout as one JSON object that has all these fields.
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

// redis-server starts one for the script, with lines of redis.conf; its address
// becomes $REDIS.
func redisServer(ts *testscript.TestScript, _ bool, lines []string) {
	server, err := redistest.Spawn(context.Background(), redistest.WithConfig(lines...))
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Close()) })
	ts.Setenv("REDIS", server.URL())
	servers.Store(ts, server)
}

// hold-port makes $PORT a port of the loopback that is in use.
func holdPort(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "localhost:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv("PORT", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
}

// servers are the scripts' own, by script.
var servers sync.Map

// kill-redis crashes it.
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

// set-key KEY makes a key that is none of ours.
func setKey(ts *testscript.TestScript, _ bool, args []string) {
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		ts.Check(client.Set(ctx, args[0], "theirs", 0).Err())
	})
}

// has-keys KEY… holds where these are all the keys that there are.
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

// await-spending TENANT [TIMES] returns when a bench has committed something for it, or
// so many times of what it had at first.
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

// hangUp does to what runs in the background what a terminal does that is closed.
func hangUp(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}

// benchKeys are those of a tenant's partition under each prefix of a bench that runs.
func benchKeys(ctx context.Context, client *redis.Client, tenant budget.TenantID) (all []store.Keys) {
	for _, key := range client.Keys(ctx, store.RecordKey("bursar-bench-*")).Val() {
		if record, err := store.ParseRecord(client.Get(ctx, key).Val()); err == nil {
			prefix := strings.TrimSuffix(key, store.RecordKey(""))
			all = append(all, store.KeysOf(prefix, record.Partitions, store.PartitionOf(tenant, record.Partitions)))
		}
	}
	return all
}

// The account's remaining grows by a microcent that nobody granted, in one step,
// between two batches of the bench that runs.
var corruptAccount = redis.NewScript(`
local record = redis.call('HGET', KEYS[1], ARGV[1])
local low = struct.unpack('>I4', record, 13)
redis.call('HSET', KEYS[1], ARGV[1], record:sub(1, 12) .. struct.pack('>I4', low + 1) .. record:sub(17))
return 1`)

// corrupt TENANT changes the balance of a tenant of a bench that runs.
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

// keys-of TENANT makes $LEDGER and $TIMERS the keys of its partition.
func keysOf(ts *testscript.TestScript, _ bool, args []string) {
	withRedis(ts, func(ctx context.Context, client *redis.Client) {
		record, err := store.ParseRecord(client.Get(ctx, store.RecordKey(store.DefaultPrefix)).Val())
		ts.Check(err)
		keys := store.KeysOf(store.DefaultPrefix, record.Partitions, store.PartitionOf(budget.TenantID(args[0]), record.Partitions))
		ts.Setenv("LEDGER", keys.Ledger)
		ts.Setenv("TIMERS", keys.Timers)
	})
}

// redis COMMAND… sends a command to $REDIS, with the escapes of Go's strings in its words.
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

// set-amounts TENANT GRANTED REMAINING RESERVED COMMITTED changes the account by hand.
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

// damage-hold ID OFFSET BYTES writes bytes into the record of a hold, and cuts off what
// follows if there are none.
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

// capture NAME keeps the first line of stdout in a variable.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
}

// retenant TENANT makes $OTHER of $ID: the same bits under another tenant's name.
func retenant(ts *testscript.TestScript, _ bool, args []string) {
	id, err := budget.ParseReservationID(ts.Getenv("ID"))
	ts.Check(err)
	hi, lo := id.Bits()
	ts.Setenv("OTHER", budget.NewReservationID(budget.TenantID(args[0]), hi, lo).String())
}

// shorten makes $SHORT of $ID, as a careless copy does.
func shorten(ts *testscript.TestScript, _ bool, _ []string) {
	id := ts.Getenv("ID")
	ts.Setenv("SHORT", id[:len(id)-1])
}

// gzip FILE OTHER writes the other one, compressed.
func compress(ts *testscript.TestScript, _ bool, args []string) {
	file, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	w := gzip.NewWriter(file)
	_, err = w.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(errors.Join(err, w.Close(), file.Close()))
}

// pipe FILE makes a named pipe.
func pipe(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("mkfifo", ts.MkAbs(args[0])))
}

// await-reader PIPE returns when a process reads it, and writes nothing until the
// script ends.
func awaitReader(ts *testscript.TestScript, _ bool, args []string) {
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	ts.Defer(func() { ts.Check(file.Close()) })
}
