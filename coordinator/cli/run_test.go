package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// safeBuffer may be read while the command still writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// bursar runs the command in this process. It is not for parallel tests: urfave/cli
// keeps its help flag in a global.
func bursar(ctx context.Context, args ...string) (code int, stdout, stderr *safeBuffer) {
	stdout, stderr = new(safeBuffer), new(safeBuffer)
	return cli.Run(ctx, append([]string{"bursar"}, args...), stdout, stderr), stdout, stderr
}

// afterWrite calls do after each write.
type afterWrite struct {
	io.Writer
	do func()
}

func (w afterWrite) Write(b []byte) (int, error) {
	defer w.do()
	return w.Writer.Write(b)
}

// must runs a command that must succeed, and returns its output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := bursar(t.Context(), args...)
	if code != exit.Done {
		t.Fatalf("%v: code %d: %s", args, code, stderr)
	}
	return stdout.String()
}

func newNode(t *testing.T, server *redistest.Server, opts ...coordinator.Option) *coordinator.Coordinator {
	t.Helper()
	opts = append(opts, coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	node, err := coordinator.New(t.Context(), server.Client(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return node
}

// tripwire is a proxy that calls onMatch each time a client sends the word, before it
// forwards that. When onMatch returns false, the proxy shuts down.
type tripwire struct {
	listener net.Listener
	server   string
	word     []byte
	onMatch  func(nth int64) (proceed bool)
	matches  atomic.Int64
	conns    sync.Map
	group    sync.WaitGroup
}

// newTripwire returns a proxy that forwards the given number of script calls, and breaks
// its connections at the next.
func newTripwire(t *testing.T, server string, times int64) *tripwire {
	t.Helper()
	return interpose(t, server, "\r\nevalsha\r\n", func(nth int64) bool { return nth <= times })
}

func interpose(t *testing.T, server, word string, onMatch func(nth int64) (proceed bool)) *tripwire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &tripwire{listener: listener, server: server, word: []byte(word), onMatch: onMatch}
	w.group.Go(w.accept)
	t.Cleanup(func() {
		w.end()
		w.group.Wait()
	})
	return w
}

func (w *tripwire) url() string { return "redis://" + w.listener.Addr().String() }

func (w *tripwire) accept() {
	for {
		front, err := w.listener.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("tcp", w.server)
		if err != nil {
			front.Close()
			return
		}
		w.conns.Store(front, nil)
		w.conns.Store(back, nil)
		w.group.Go(func() { _, _ = io.Copy(front, back); front.Close() })
		w.group.Go(func() { w.forward(back, front) })
	}
}

func (w *tripwire) forward(back, front net.Conn) {
	defer back.Close()
	chunk := make([]byte, 64<<10)
	for {
		n, err := front.Read(chunk)
		for range bytes.Count(bytes.ToLower(chunk[:n]), w.word) {
			if !w.onMatch(w.matches.Add(1)) {
				w.end()
				return
			}
		}
		if _, writeErr := back.Write(chunk[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (w *tripwire) end() {
	w.listener.Close()
	w.conns.Range(func(conn, _ any) bool {
		conn.(net.Conn).Close()
		return true
	})
}

// If Redis dies between two pages, verify returns one error with the number of tenants
// read, and prints nothing that looks like a result.
func TestVerifyWhenRedisDiesBetweenPages(t *testing.T) {
	server := redistest.Start(t)
	node := newNode(t, server)
	var ensured sync.WaitGroup
	for i := range 3000 {
		ensured.Go(func() {
			if _, err := node.EnsureTenant(t.Context(), budget.TenantID(fmt.Sprintf("tenant-%d", i)), 5); err != nil {
				t.Error(err)
			}
		})
	}
	ensured.Wait()
	proxy := newTripwire(t, server.Addr(), 5) // including one of the checks before
	code, stdout, stderr := bursar(t.Context(), "verify", "--json", "--redis", proxy.url())
	if code != exit.Unavailable || stdout.String() != "" || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if printed := stderr.String(); !strings.Contains(printed, "tenants had been read") || strings.Contains(printed, "; 0 tenants") {
		t.Errorf("stderr %q lacks the progress", printed)
	}
}

// A forced deletion completes even while others keep reserving: it withdraws first, so
// that they make no new holds. Its sum is exact to the microcent.
func TestForcedDeletionUnderLoad(t *testing.T) {
	server := redistest.Start(t)
	redis := []string{"--redis", "redis://" + server.Addr()}
	must(t, append(append([]string{"tenant", "ensure"}, redis...), "acme", "$10")...)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var others sync.WaitGroup
	node := newNode(t, server)
	begun := make(chan struct{}, 1)
	for range 4 {
		others.Go(func() {
			for ctx.Err() == nil {
				r, err := node.TryReserve(ctx, "acme", budget.Cent)
				if err != nil || r.Outcome == budget.MissingTenant {
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	<-begun
	code, stdout, stderr := bursar(t.Context(), append(append([]string{"tenant", "delete"}, redis...), "--yes", "--force", "--json", "acme")...)
	stop()
	others.Wait()
	if code != exit.Done {
		t.Fatalf("code %d, %s%s", code, stdout, stderr)
	}
	var gone struct {
		Granted, Withdrawn, Committed, Remaining budget.Microcents
		Ended                                    []budget.Hold
	}
	if err := json.Unmarshal([]byte(stdout.String()), &gone); err != nil {
		t.Fatal(err)
	}
	var held budget.Microcents
	for _, h := range gone.Ended {
		held += h.Held
	}
	if gone.Granted+gone.Withdrawn != 10*budget.Dollar || gone.Committed != held || gone.Remaining != 0 || held == 0 {
		t.Errorf("of $10.00 are gone: %+v, in holds %s", gone, held)
	}
	if b, err := node.Balance(t.Context(), "acme"); err != nil || b.Outcome != budget.MissingTenant {
		t.Errorf("afterwards: %+v, %v", b, err)
	}
	must(t, append([]string{"verify"}, redis...)...)
}

// Ctrl-C ends an endless command with success, and any other with one line of error.
func TestInterrupted(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$10")
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout, stderr safeBuffer
	watching := []string{"bursar", "tenant", "watch", "--redis", address, "--every", "100ms", "acme"}
	if code := cli.Run(ctx, watching, afterWrite{&stdout, interrupt}, &stderr); code != exit.Done || !strings.Contains(stdout.String(), "acme") {
		t.Errorf("watch: code %d, %s%s", code, stdout.String(), stderr.String())
	}
	for _, args := range [][]string{
		{"verify"}, {"holds", "list"}, {"tenant", "list"}, {"tenant", "show", "acme"}, {"doctor"},
	} {
		args = append(args[:1:1], append([]string{"--redis", address}, args[1:]...)...)
		if args[0] == "holds" || args[0] == "tenant" {
			args = append([]string{args[0], args[3], "--redis", address}, args[4:]...)
		}
		code, _, stderr := bursar(ctx, args...)
		if code != exit.Unavailable || !strings.Contains(stderr.String(), "interrupted") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%v: code %d, %q", args, code, stderr)
		}
	}
}

// If the reply is lost, the error has the reservation's id and a remedy.
func TestUnknownOutcomeNamesTheReservation(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$10")
	id, _, _ := strings.Cut(must(t, "reserve", "--redis", address, "acme", "$1"), "\n")
	// The checks make one script call and the opening of the session another; the
	// connection breaks at the call of the batch.
	proxy := newTripwire(t, server.Addr(), 2)
	code, _, stderr := bursar(t.Context(), "commit", "--timeout", "300ms", "--redis", proxy.url(), id, "50c")
	printed := stderr.String()
	if code != exit.Unavailable || strings.Count(printed, "\n") != 1 || !strings.Contains(printed, id) || !strings.Contains(printed, "it may be repeated") {
		t.Errorf("code %d, %s", code, printed)
	}
	for command, want := range map[string]string{
		"reserve":         `outcome unknown of reservation acme\.[0-9a-f]{32}: .*; if it is held, it expires at its deadline; see bursar lookup`,
		"tenant grant":    `outcome unknown: .*; run bursar tenant show acme before you repeat it`,
		"tenant withdraw": `outcome unknown: .*; run bursar tenant show acme before you repeat it`,
		"tenant ensure":   `outcome unknown: .*; it may be repeated`,
	} {
		proxy := newTripwire(t, server.Addr(), 2)
		args := append(strings.Fields(command), "--timeout", "300ms", "--redis", proxy.url(), "acme", "50c")
		code, _, stderr := bursar(t.Context(), args...)
		if code != exit.Unavailable || !regexp.MustCompile(want).MatchString(stderr.String()) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: code %d, %s", command, code, stderr)
		}
	}
	must(t, "verify", "--redis", address)
}

// If the reply to a deletion is lost, the remedy is to look at the tenant first: a blind
// repeat could fail because the tenant is missing.
func TestUnknownDeletion(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$10")
	for _, flags := range [][]string{nil, {"--force"}} {
		proxy := newTripwire(t, server.Addr(), 2)
		args := append([]string{"tenant", "delete", "--yes", "--timeout", "300ms", "--redis", proxy.url()}, flags...)
		code, _, stderr := bursar(t.Context(), append(args, "acme")...)
		printed := stderr.String()
		if code != exit.Unavailable || strings.Count(printed, "\n") != 1 ||
			!strings.Contains(printed, "; run bursar tenant show acme, and delete it again if it still exists") || strings.Contains(printed, "lookup") {
			t.Errorf("%v: code %d, %s", flags, code, printed)
		}
	}
}

// A bulk release makes no more connections than a release by id.
func TestBulkReleaseUsesOneClient(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$10")
	logins := func(args ...string) int64 {
		proxy := interpose(t, server.Addr(), "\r\nhello\r\n", func(int64) bool { return true })
		must(t, append([]string{"holds", "release", "--redis", proxy.url()}, args...)...)
		return proxy.matches.Load()
	}
	id, _, _ := strings.Cut(must(t, "reserve", "--redis", address, "acme", "$1"), "\n")
	one := logins(id)
	must(t, "reserve", "--redis", address, "acme", "$1")
	if bulk := logins("--tenant", "acme", "--yes"); bulk != one {
		t.Errorf("%d logins for a bulk release, and %d for one by its id", bulk, one)
	}
}

// If another operator deletes the tenant during a forced deletion, the error reports the
// money and the holds that this one has taken.
func TestForcedDeletionOvertaken(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	overtaken, calls := 0, int64(8)
	for nth := int64(0); nth < calls; nth++ {
		must(t, "tenant", "ensure", "--redis", address, "acme", "$10")
		must(t, "reserve", "--redis", address, "acme", "$1")
		proxy := interpose(t, server.Addr(), "\r\nevalsha\r\n", func(n int64) bool {
			if n == nth+1 {
				finish(t, newNode(t, server), "acme")
			}
			return true
		})
		code, stdout, stderr := bursar(t.Context(), "tenant", "delete", "--yes", "--force", "--redis", proxy.url(), "acme")
		switch printed := stderr.String(); {
		case code == exit.Done:
			if calls = proxy.matches.Load(); nth < calls {
				t.Errorf("overtaken at call %d of %d: %s", nth+1, calls, stdout)
			}
		case code != exit.Refused:
			t.Errorf("overtaken at call %d: code %d, %s", nth+1, code, printed)
		case strings.Contains(printed, "acme was deleted concurrently ($9.00 was already withdrawn"):
			overtaken++
		case !strings.Contains(printed, `no tenant is named "acme"`):
			t.Errorf("overtaken at call %d: %s", nth+1, printed)
		}
	}
	if overtaken == 0 {
		t.Error("it was never overtaken after its withdrawal")
	}
}

// finish releases the tenant's open holds and deletes it.
func finish(t *testing.T, node *coordinator.Coordinator, tenant budget.TenantID) {
	list, err := node.Holds(t.Context(), tenant)
	if err != nil {
		t.Error(err)
	}
	for _, hold := range list.Holds {
		if _, err := node.Release(t.Context(), hold.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := node.DeleteTenant(t.Context(), tenant); err != nil {
		t.Error(err)
	}
}

// verify reports a partition as unsettled, not as ok, if more holds end between any two
// pages than the partition retains.
func TestVerifyOfAPartitionThatChangesTooFast(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$10")
	node := newNode(t, server, coordinator.WithRetention(time.Second, 1))
	proxy := interpose(t, server.Addr(), "\r\nevalsha\r\n", func(int64) bool {
		for range 3 {
			r, err := node.TryReserve(t.Context(), "acme", 1)
			if err != nil || r.Err() != nil {
				t.Error(r, err)
			}
			if s, err := node.Release(t.Context(), r.ID); err != nil || s.Err() != nil {
				t.Error(s, err)
			}
		}
		return true
	})
	code, stdout, stderr := bursar(t.Context(), "verify", "--redis", proxy.url())
	if code != exit.Unavailable || stderr.String() != "bursar: 1 partition changed faster than it can be read\n" ||
		!strings.HasPrefix(stdout.String(), "unsettled  partition 0 changes faster than it can be read: ") || strings.Count(stdout.String(), "\n") != 1 {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
	if printed := must(t, "verify", "--redis", address); !strings.HasPrefix(printed, "ok  1 tenant, ") {
		t.Errorf("afterwards: %s", printed)
	}
}

// If Redis dies during a bulk release, the error has the number of released holds.
func TestBulkReleaseWhenRedisDies(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$20")
	node := newNode(t, server)
	const holds = 1124 // more than two batches
	for range holds {
		if r, err := node.TryReserve(t.Context(), "acme", budget.Cent); err != nil || r.Err() != nil {
			t.Fatal(r, err)
		}
	}
	// The checks make two calls and the opening of the session one; the fourth releases at
	// most a batch.
	proxy := newTripwire(t, server.Addr(), 4)
	code, _, stderr := bursar(t.Context(), "holds", "release", "--timeout", "300ms", "--redis", proxy.url(), "--tenant", "acme", "--yes")
	reported := regexp.MustCompile(`\((\d+) of 1124 holds released\); run it again`).FindStringSubmatch(stderr.String())
	if code != exit.Unavailable || strings.Count(stderr.String(), "\n") != 1 || reported == nil {
		t.Fatalf("code %d, %s", code, stderr)
	}
	b, err := node.Balance(t.Context(), "acme")
	if open := int64(b.Reserved / budget.Cent); err != nil || reported[1] == "0" || reported[1] != strconv.FormatInt(holds-open, 10) {
		t.Errorf("%s reported released, %d are open: %v", reported[1], open, err)
	}
	must(t, "verify", "--redis", address)
}

// The operator's commands find the settled reservations that a fleet retains, and drop
// none of them.
func TestCommandsRememberForTheFleet(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$20")
	ago := func() time.Time { return time.Now().Add(-30 * time.Minute) }
	node := newNode(t, server, coordinator.WithRetention(time.Hour, 100_000), coordinator.WithClock(ago))
	ledger := store.KeysOf(store.DefaultPrefix, coordinator.DefaultPartitions, store.PartitionOf("acme", coordinator.DefaultPartitions)).Ledger
	control, err := server.Client().HGet(t.Context(), ledger, store.ControlField).Result()
	if err != nil {
		t.Fatal(err)
	}
	const timeBytes = 6 // the first bytes: the partition's time, which never goes back
	control = strings.Repeat("\x00", timeBytes) + control[timeBytes:]
	if err := server.Client().HSet(t.Context(), ledger, store.ControlField, control).Err(); err != nil {
		t.Fatal(err)
	}
	r, err := node.TryReserve(t.Context(), "acme", budget.Cent)
	if err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	if s, err := node.Commit(t.Context(), r.ID, budget.Cent); err != nil || s.Err() != nil {
		t.Fatal(s, err)
	}
	for range 40 { // settling drops retained ones that are too old
		id := strings.Fields(must(t, "reserve", "--redis", address, "acme", "1c"))[0]
		must(t, "commit", "--redis", address, id, "1c")
	}
	if printed := must(t, "lookup", "--redis", address, r.ID.String()); !strings.HasPrefix(printed, "committed $0.01 at ") {
		t.Errorf("lookup prints %q", printed)
	}
}

// --timeout bounds the time that a command waits for a Redis that hangs.
func TestTimeoutOfEveryCommand(t *testing.T) {
	server := redistest.Start(t)
	address := "redis://" + server.Addr()
	must(t, "tenant", "ensure", "--redis", address, "acme", "$20")
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Resume(); err != nil {
			t.Error(err)
		}
	}()
	for _, command := range []string{"doctor", "verify", "tenant list", "tenant show acme", "holds list", "reserve acme 1c"} {
		words := strings.Fields(command)
		at := 1
		if len(words) > 1 && (words[0] == "tenant" || words[0] == "holds") {
			at = 2
		}
		args := slices.Insert(words, at, "--timeout", "200ms", "--redis", address)
		began := time.Now()
		code, _, stderr := bursar(t.Context(), args...)
		if took := time.Since(began); code != exit.Unavailable || took > 2*time.Second {
			t.Errorf("%s: code %d after %s: %s", command, code, took, stderr)
		}
	}
}
