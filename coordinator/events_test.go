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

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// logRecorder keeps what an operator would read.
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

// saysOnce holds the log to one line with these words.
func (l *logRecorder) saysOnce(t *testing.T, word string) {
	t.Helper()
	if n := strings.Count(l.text(), word); n != 1 {
		t.Errorf("the log says %q %d times, want once:\n%s", word, n, l.text())
	}
}

// What an operator must read comes once, however many calls it concerns.
func TestEventsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log := &logRecorder{}
	c := node(t, server.Client(), log.option(), WithRepair(0, 0))
	log.saysOnce(t, "node started")
	ensure(t, c, "acme", 1000)
	reserve(t, c, 1)

	abandon(t, c, server, 5)
	log.saysOnce(t, "released holds that nobody was told of")
	log.saysOnce(t, "holds=5")

	client := server.Client()
	session := "s" + c.lane("acme").session.nodeText
	client.HDel(t.Context(), acmeBooks, session)
	if _, err := c.TryReserve(t.Context(), "acme", 1); err == nil {
		t.Error("a lost session went unnoticed")
	}
	reserve(t, c, 1)
	reserve(t, c, 1)
	log.saysOnce(t, "Redis lost acknowledged writes")
	log.saysOnce(t, "session was opened again")

	client.FlushAll(t.Context())
	for range 3 {
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "a lost family", err, ErrGap)
	}
	log.saysOnce(t, "was lost or created anew")
}

// abandon lets callers leave while their reserves are in one batch on its way, and
// waits for the releases.
func abandon(t *testing.T, c *Coordinator, server *redistest.Server, callers int) {
	t.Helper()
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	var group []*call
	for range callers {
		group = append(group, newCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}))
	}
	enqueueTogether(t, c, group)
	for _, op := range group {
		eventually(t, "the batch is on its way", func() bool { return op.state.Load() == callSent })
		if _, err := op.leave(context.Canceled); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a caller left with %v", err)
		}
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is resolved", func() bool { return c.inFlight.Load() == 0 })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
