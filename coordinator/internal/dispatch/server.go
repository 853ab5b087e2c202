package dispatch

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

// A server carries the commands of the lanes whose partitions it has. Its workers start
// with work and end without; each takes the lanes that are ready and sends their
// commands in one pipeline, so that lanes share round trips while each keeps one command
// in flight. A server that hangs delays no other.
type server struct {
	d       *Dispatcher
	address string
	key     string // one that the server had when it was met
	breaker breaker

	mu       sync.Mutex
	ready    []job
	sending  []*worker   // those with a pipeline in flight
	workers  int         // without abandoned ones
	rested   time.Time   // end of the last worker
	idle     *time.Timer // probes while the node asks nothing
	watch    *time.Timer // looks for pipelines that are in flight for too long
	watching bool
	hung     atomic.Int32 // pipelines that were abandoned and are still in flight

	failing atomic.Bool // the last pipeline had no response

	judging sync.Mutex // the breaker, with its part in d.open
	retired bool       // it has no part any more
}

const (
	// Two workers let one pipeline be built and read while the other is at Redis.
	workersPerServer    = 2
	commandsPerPipeline = 128
	// probeIdleEvery is the interval at which an idle node looks for lost writes.
	probeIdleEvery = 5 * time.Second
)

// A job is a source of commands and a key of its partition.
type job struct {
	source
	key string
}

// worker is one worker's pipeline. Memory is used again.
type worker struct {
	jobs  []job // taken
	sent  []job // those with a command, in the order of cmds
	cmds  []redis.Cmder
	began time.Time
	state atomic.Int32
}

const (
	sending int32 = iota
	returned
	abandoned // its commands are in flight for too long, and its lanes have gone on
)

var workers = sync.Pool{New: func() any { return new(worker) }}

// push makes a source ready.
func (s *server) push(l job) {
	s.mu.Lock()
	s.ready = append(s.ready, l)
	start := s.workers < workersPerServer
	woken := s.workers == 0 && !s.rested.IsZero() && s.d.config.Now().Sub(s.rested) > lane.SilentAfter
	if start {
		s.start()
	}
	s.mu.Unlock()
	if woken {
		s.probe()
	}
}

// probe looks for writes that the server has lost while the node asked it nothing.
func (s *server) probe() {
	s.d.node.ProbeRecent(func(l *lane.Lane) bool { return s.d.address(l.Keys().Ledger) == s.address })
}

// start starts a worker. The server is locked.
func (s *server) start() {
	s.workers++
	s.d.workers.Add(1)
	go s.work()
}

// take returns the lanes of the next pipeline, or none, and then the worker ends.
func (s *server) take(into []job) []job {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.ready), commandsPerPipeline)
	into = append(into[:0], s.ready[:n]...)
	s.ready = append(s.ready[:0], s.ready[n:]...)
	switch {
	case n == 0:
		s.workers--
		s.d.workers.Done()
		s.rest()
	case len(s.ready) > 0 && s.workers < workersPerServer:
		s.start()
	}
	return into
}

// rest watches over a server that this node asks nothing. The server is locked.
func (s *server) rest() {
	if s.workers > 0 {
		return
	}
	s.rested = s.d.config.Now()
	if s.idle == nil {
		s.idle = time.AfterFunc(probeIdleEvery, s.probe)
	} else {
		s.idle.Reset(probeIdleEvery)
	}
}

func (s *server) work() {
	w := workers.Get().(*worker)
	for {
		w.jobs = s.take(w.jobs)
		if len(w.jobs) == 0 {
			if s.breaker.state() != BreakerClosed {
				s.d.dropReplaced()
			}
			workers.Put(w)
			return
		}
		if s.build(w); len(w.cmds) == 0 {
			continue
		}
		s.launch(w)
		s.d.send(w.cmds)
		if !s.land(w) {
			return // its lanes have gone on, and its memory may be in use
		}
		s.d.reloadTopology(w.cmds)
		s.judge(w.cmds, w.began)
		for i, l := range w.sent {
			s.deliver(l, w.cmds[i].(*command))
		}
		// The callers just answered run now, and their next calls go along.
		runtime.Gosched()
	}
}

// build collects the commands of the lanes.
func (s *server) build(w *worker) {
	clear(w.cmds)
	w.cmds, w.sent = w.cmds[:0], w.sent[:0]
	for _, l := range w.jobs {
		if args := l.Next(); args != nil {
			w.cmds = append(w.cmds, newCommand(s.d.ctx, args))
			w.sent = append(w.sent, l)
		} else if l.Again() {
			s.push(l)
		}
	}
}

// deliver gives a lane its reply.
func (s *server) deliver(l job, cmd *command) {
	value, err := cmd.reply()
	r := lane.Reply{Err: err}
	if err != nil {
		if s.d.clientClosed(err) {
			r.Failure = lane.FailureUnsent
		} else {
			r.Failure, r.Err = Classify(err), s.d.Explain(err)
			if s.d.misdirected(err) {
				r.Failure = lane.FailureRejected
			}
			if isDown(err) {
				s.d.node.Failed()
			}
		}
	} else {
		r.Value = value
		r.Text, _ = value.(string)
	}
	s.reschedule(l, l.Handle(r))
}

// reschedule brings a lane back if it has a next command.
func (s *server) reschedule(l job, delay time.Duration) {
	if l.Again() {
		s.d.carry(l.source, l.key, delay)
	}
}

// judge informs the breaker: one command with a response is enough.
func (s *server) judge(cmds []redis.Cmder, began time.Time) {
	i := slices.IndexFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() == nil || !isDown(cmd.Err()) })
	if i < 0 {
		s.fail(began, cmds[0].Err())
		return
	}
	if s.failing.CompareAndSwap(true, false) {
		s.d.node.Suspect()
	}
	s.judging.Lock()
	defer s.judging.Unlock()
	if s.retired {
		return
	}
	if outage, closed := s.breaker.succeeded(s.d.config.Now()); closed {
		s.d.open.Add(-1)
		s.d.config.Logger.Info("bursar: circuit breaker closed", "server", s.address, "outage", outage.Round(time.Millisecond))
	}
}

// fail records that commands had no response.
func (s *server) fail(began time.Time, err error) {
	s.failing.Store(true)
	s.judging.Lock()
	defer s.judging.Unlock()
	if !s.retired && s.breaker.failed(began, s.d.config.Now()) {
		s.d.open.Add(1)
		s.d.config.Logger.Error("bursar: circuit breaker open", "server", s.address, "after", s.breaker.after, "error", err)
	}
}

// retire takes a server that was replaced out of the count, unless it has work.
func (s *server) retire() bool {
	s.mu.Lock()
	working := s.workers > 0 || len(s.ready) > 0
	s.mu.Unlock()
	if working {
		return false
	}
	s.judging.Lock()
	defer s.judging.Unlock()
	if !s.retired && s.breaker.state() != BreakerClosed {
		s.d.open.Add(-1)
		s.d.config.Logger.Info("bursar: unresponsive server replaced", "server", s.address)
	}
	s.retired = true
	return true
}

// clientClosed reports whether the client was closed, and ends the node with it. A
// Cluster's client closes by itself those of servers that have left.
func (d *Dispatcher) clientClosed(err error) bool {
	if !errors.Is(err, redis.ErrClosed) {
		return false
	}
	if d.cluster != nil {
		closed := false
		if !d.Within(func() { closed = errors.Is(d.cluster.Ping(d.ctx).Err(), redis.ErrClosed) }) || !closed {
			return false
		}
	}
	if d.node.Die() {
		d.config.Logger.Error("bursar: Redis client closed first", "remedy", "close the coordinator before its client")
	}
	return true
}
