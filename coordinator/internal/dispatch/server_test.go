package dispatch

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/redistest"
)

// writer is a source that sets a key to 1, then to 2, and leaves its first caller to Answer.
type writer struct {
	client    *redis.Client
	sent      int
	answering bool
	seen      string // value of the key in Answer
	done      chan struct{}
}

func (w *writer) Next() []any {
	w.sent++
	return []any{"set", "key", w.sent}
}

func (w *writer) Handle(r lane.Reply) time.Duration {
	w.answering = r.Early && w.sent == 1
	return 0
}

func (w *writer) Answering() bool { return w.answering }

// Answer waits for the second command.
func (w *writer) Answer() {
	for began := time.Now(); w.seen != "2" && time.Since(began) < 5*time.Second; {
		w.seen = w.client.Get(context.Background(), "key").Val()
	}
	w.answering = false
}

func (w *writer) Continue() bool {
	if w.sent == 2 {
		close(w.done)
	}
	return w.sent < 2
}

func (w *writer) Abandoned() {}

// The callers of a lane that is alone are answered while its next command is in flight.
func TestAnswersDuringTheNextFlight(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	d := newEngine(client, "bursar", nil, 1, 0).d
	w := &writer{client: client, done: make(chan struct{})}
	d.carry(w, "key", 0)
	<-w.done
	if w.seen != "2" {
		t.Errorf("Answer returned after it saw %q, want the second command's value", w.seen)
	}
	d.Wait()
}
