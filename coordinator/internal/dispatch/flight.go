package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

// A flight is a worker's pipeline from its sending to its replies. A connection can stay
// silent forever: the client may have no read timeout, and a proxy may lose a reply. So
// the node bounds each flight itself. An overdue pipeline is abandoned with the goroutine
// that sent it; its lanes repeat their commands on another connection, which is harmless,
// and another goroutine replaces the worker.

// DefaultMaxFlight is longer than go-redis' default read timeout with its retries (5 s),
// which also closes the connection.
const DefaultMaxFlight = 6 * time.Second

// maxDoublings bounds how many times the limit is doubled.
const maxDoublings = 4

// ErrUnanswered is the error of a command that was abandoned.
var ErrUnanswered = errors.New("no reply in time")

// launch and land mark the beginning and the end of the time in flight of a worker's
// commands. land reports false if the server has abandoned them.
func (s *server) launch(w *worker) {
	w.began = s.d.config.Now()
	w.state.Store(sending)
	s.mu.Lock()
	s.sending = append(s.sending, w)
	if !s.watching {
		s.watching = true
		if s.watch == nil {
			s.watch = time.AfterFunc(s.nextLook(0), s.lookForOverdue)
		} else {
			s.watch.Reset(s.nextLook(0))
		}
	}
	s.mu.Unlock()
}

func (s *server) land(w *worker) bool {
	if !w.state.CompareAndSwap(sending, returned) {
		s.hung.Add(-1)
		return false
	}
	s.mu.Lock()
	s.sending = slices.DeleteFunc(s.sending, func(other *worker) bool { return other == w })
	s.mu.Unlock()
	return true
}

// flightLimit returns the current limit of a pipeline's time in flight. Each abandoned one
// keeps a connection, so the limit grows with their number.
func (s *server) flightLimit() time.Duration {
	return s.d.config.MaxFlight << min(int(s.hung.Load())/workersPerServer, maxDoublings)
}

// nextLook returns the time until a pipeline of the given age has to be checked again.
func (s *server) nextLook(age time.Duration) time.Duration {
	wait := s.flightLimit() - age
	if left := s.breaker.after - age; left > 0 {
		wait = min(wait, left)
	}
	return max(wait, time.Millisecond)
}

// lookForOverdue abandons the pipelines that are in flight for too long, and reports the
// age of the oldest one to the breaker.
func (s *server) lookForOverdue() {
	now, flightLimit := s.d.config.Now(), s.flightLimit()
	var overdue []*worker
	oldest := time.Duration(0)
	s.mu.Lock()
	s.sending = slices.DeleteFunc(s.sending, func(w *worker) bool {
		age := now.Sub(w.began)
		if age < flightLimit || !w.state.CompareAndSwap(sending, abandoned) {
			oldest = max(oldest, age)
			return false
		}
		overdue = append(overdue, w)
		return true
	})
	if s.watching = len(s.sending) > 0; s.watching {
		s.watch.Reset(s.nextLook(oldest))
	}
	s.mu.Unlock()
	if s.breaker.after > 0 && oldest >= s.breaker.after {
		s.fail(now.Add(-oldest), ErrUnanswered)
	}
	for _, w := range overdue {
		s.abandon(w, now.Sub(w.began))
	}
}

// abandon lets the lanes of a worker continue without it: they repeat the same bytes on
// another connection, and another worker replaces it.
func (s *server) abandon(w *worker, age time.Duration) {
	s.hung.Add(1)
	s.d.config.Logger.Warn("bursar: abandoned an unanswered command", "server", s.address, "after", age.Round(time.Millisecond), "abandoned", s.hung.Load())
	s.fail(w.began, ErrUnanswered)
	if s.d.cluster != nil {
		s.d.cluster.ReloadState(s.d.ctx)
	}
	w.answered.Wait()
	for _, l := range w.sent {
		l.Abandoned()
		s.reschedule(l, l.Handle(lane.Reply{Err: ErrUnanswered, Failure: lane.FailureLost}))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers--
	s.d.workers.Done()
	if len(s.ready) > 0 && s.workers < workersPerServer {
		s.start()
	}
	s.scheduleProbe()
}

// oldest returns the age of the pipeline that is in flight for the longest time.
func (s *server) oldest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := time.Duration(0)
	for _, w := range s.sending {
		oldest = max(oldest, s.d.config.Now().Sub(w.began))
	}
	return oldest
}

// LongUnanswered returns an error if a server has not answered one of the node's commands
// for a while, even if it answers others.
func (d *Dispatcher) LongUnanswered() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.servers {
		if age := s.oldest(); age > lane.SilentAfter {
			return fmt.Errorf("%w: %s: a command is unanswered for %s", lane.ErrUnavailable, s.name(), age.Round(time.Millisecond))
		}
	}
	return nil
}

// name returns the server's name in errors.
func (s *server) name() string {
	if s.address == "" {
		return "Redis"
	}
	return s.address
}

// Within runs do, and reports whether it returned within MaxFlight. Otherwise do keeps
// running, and the caller must not touch its variables.
func (d *Dispatcher) Within(do func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do()
	}()
	timer := time.NewTimer(d.config.MaxFlight)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

// Ask sends a command that belongs to no lane, and waits for at most MaxFlight.
func (d *Dispatcher) Ask(server redis.UniversalClient, args ...any) (any, error) {
	cmd := newCommand(d.ctx, args)
	if !d.Within(func() { _ = server.Process(d.ctx, cmd) }) { // the command carries the error
		return nil, ErrUnanswered
	}
	return cmd.reply()
}

// bounded returns the client with a read and a write timeout if it has no read timeout,
// so that a silent connection is closed in the end. This works only for a single server's
// client; a Cluster's client takes timeouts from contexts if it is configured to.
func bounded(client redis.UniversalClient, limit time.Duration) redis.UniversalClient {
	if single, ok := client.(*redis.Client); ok && single.Options().ReadTimeout <= 0 {
		return single.WithTimeout(limit)
	}
	return client
}

func takesDeadlines(client redis.UniversalClient) bool {
	cluster, ok := client.(*redis.ClusterClient)
	return ok && cluster.Options().ReadTimeout <= 0 && cluster.Options().ContextTimeoutEnabled
}

// sendContext returns the context for sending commands.
func (d *Dispatcher) sendContext() (context.Context, context.CancelFunc) {
	if !d.deadlines {
		return d.ctx, func() {}
	}
	return context.WithTimeout(d.ctx, d.config.readLimit())
}

// readLimit is the timeout for clients without one. The pipeline is abandoned earlier.
func (c *Config) readLimit() time.Duration { return c.MaxFlight + c.MaxFlight/2 }
