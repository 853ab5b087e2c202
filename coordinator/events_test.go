package coordinator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// logRecorder records the node's log.
type logRecorder struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logRecorder) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(b)
}

func (l *logRecorder) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

func (l *logRecorder) option() Option { return WithLogger(slog.New(slog.NewTextHandler(l, nil))) }

// loggedOnce checks that exactly one line of the log has these words.
func (l *logRecorder) loggedOnce(t *testing.T, word string) {
	t.Helper()
	if n := strings.Count(l.text(), word); n != 1 {
		t.Errorf("the log has %q %d times, want once:\n%s", word, n, l.text())
	}
}

// Each event is logged once, however many calls it concerns.
func TestEventsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log := &logRecorder{}
	c := node(t, server.Client(), log.option(), WithRepair(0, 0))
	log.loggedOnce(t, "node started")
	ensure(t, c, "acme", 1000)
	reserve(t, c, 1)

	abandon(t, c, server, 5)
	log.loggedOnce(t, "released abandoned holds")
	log.loggedOnce(t, "holds=1")

	client := server.Client()
	session := store.SessionField(c.node.ID())
	client.HDel(t.Context(), acmeLedger, session)
	if _, err := c.TryReserve(t.Context(), "acme", 1); err == nil {
		t.Error("a lost session went unnoticed")
	}
	reserve(t, c, 1)
	reserve(t, c, 1)
	log.loggedOnce(t, "Redis lost acknowledged writes")
	log.loggedOnce(t, "session reopened")

	client.FlushAll(t.Context())
	for range 3 {
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "a lost partition", err, ErrGap)
	}
	log.loggedOnce(t, "partition lost or recreated")
}

// abandon lets callers give up while their reserves are in one batch in flight, and waits
// for the releases.
func abandon(t *testing.T, c *Coordinator, server *redistest.Server, callers int) {
	t.Helper()
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	first, cancelFirst := context.WithCancel(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancelFirst()
	given := make(chan error, callers+1)
	ask := func(ctx context.Context) {
		_, err := c.TryReserve(ctx, "acme", 1)
		given <- err
	}
	go ask(first) // a batch of its own; the others queue behind it
	eventually(t, "a batch is in flight", func() bool { return c.node.InFlight() == 1 })
	time.Sleep(20 * time.Millisecond)
	for range callers - 1 {
		go ask(ctx)
	}
	eventually(t, "all are queued", func() bool { return c.node.InFlight() == int64(callers) })
	cancelFirst()
	if err := <-given; !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("the caller of a batch in flight gave up with %v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	for range callers - 1 {
		if err := <-given; err != nil {
			t.Error(err)
		}
	}
	cancel()
	eventually(t, "all is resolved", func() bool { return c.node.InFlight() == 0 })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
