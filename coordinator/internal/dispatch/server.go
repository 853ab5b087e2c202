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

// A server sends the commands of the lanes whose partitions it has. Its workers start
// when there is work and end when there is none; each takes the lanes that are ready and
// sends their commands in one pipeline, so that lanes share round trips while each keeps
// one command in flight. A hanging server delays no other.
type server struct {
	d       *Dispatcher
	address string
	key     string // a key that the server had when it was first used
	breaker breaker

	mu        sync.Mutex
	ready     []job
	sending   []*worker   // workers with a pipeline in flight
	workers   int         // number of workers, without abandoned ones
	idleSince time.Time   // time when the last worker ended
	idle      *time.Timer // probes while the node sends nothing
	watch     *time.Timer // checks for pipelines that are in flight for too long
	watching  bool
	hung      atomic.Int32 // abandoned pipelines that are still in flight

	failing atomic.Bool // the last pipeline had no response

	judging sync.Mutex // guards the breaker and its share of d.open
	retired bool       // no longer counted in d.open
}

const (
	// Two workers let one build or read a pipeline while the other's is at Redis.
	workersPerServer    = 2
	commandsPerPipeline = 128
	// probeIdleEvery is the time after which an idle node looks for lost writes.
	probeIdleEvery = 5 * time.Second
)

// A job is a source of commands and a key of its partition.
type job struct {
	source
	key string
}

// worker is one worker's pipeline. Its memory is reused.
type worker struct {
	jobs  []job // taken
	sent  []job // jobs with a command, in the order of cmds
	cmds  []redis.Cmder
	began time.Time
	state atomic.Int32
	// answering are the sources whose callers are answered while the pipeline is in flight.
	answering []source
	answered  sync.WaitGroup
}

const (
	sending int32 = iota
	returned
	abandoned // its commands were in flight for too long, and its lanes continue without it
)

var workers = sync.Pool{New: func() any { return new(worker) }}

// push makes a source ready.
func (s *server) push(l job) {
	s.mu.Lock()
	s.ready = append(s.ready, l)
	start := s.workers < workersPerServer
	woken := s.workers == 0 && !s.idleSince.IsZero() && s.d.config.Now().Sub(s.idleSince) > lane.SilentAfter
	if start {
		s.start()
	}
	s.mu.Unlock()
	if woken {
		s.probe()
	}
}

// probe looks for writes that the server lost while the node sent it nothing.
func (s *server) probe() {
	s.d.node.ProbeRecent(func(l *lane.Lane) bool { return s.d.address(l.Keys().Ledger) == s.address })
}

// start starts a worker. The caller holds s.mu.
func (s *server) start() {
	s.workers++
	s.d.workers.Add(1)
	go s.work()
}

// take returns the lanes of the next pipeline. If there are none, the worker must end.
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
		s.scheduleProbe()
	case len(s.ready) > 0 && s.workers < workersPerServer:
		s.start()
	}
	return into
}

// scheduleProbe schedules a probe of an idle server. The caller holds s.mu.
func (s *server) scheduleProbe() {
	if s.workers > 0 {
		return
	}
	s.idleSince = s.d.config.Now()
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
		if len(w.answering) > 0 { // before launch: from then on the worker can be abandoned
			w.answered.Go(w.answer)
		}
		s.launch(w)
		s.d.send(w.cmds)
		w.answered.Wait()
		if !s.land(w) {
			return // its lanes continue without it, and its memory may be in use
		}
		s.d.reloadTopology(w.cmds)
		s.judge(w.cmds, w.began)
		early := s.alone()
		for i, l := range w.sent {
			s.deliver(l, w.cmds[i].(*command), early)
		}
		// Callers just answered run now, so that their next calls join the pipeline.
		runtime.Gosched()
	}
}

// build collects the commands of the lanes.
func (s *server) build(w *worker) {
	clear(w.cmds)
	w.cmds, w.sent, w.answering = w.cmds[:0], w.sent[:0], w.answering[:0]
	for _, l := range w.jobs {
		args := l.Next()
		if args != nil {
			w.cmds = append(w.cmds, newCommand(s.d.ctx, args))
			w.sent = append(w.sent, l)
			if l.Answering() {
				w.answering = append(w.answering, l.source)
			}
			continue
		}
		if l.Answer(); l.Continue() {
			s.push(l)
		}
	}
}

// deliver passes a reply to its lane.
func (s *server) deliver(l job, cmd *command, early bool) {
	value, err := cmd.reply()
	r := lane.Reply{Err: err, Early: early}
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

// alone reports whether no pipeline is in flight or about to be sent.
func (s *server) alone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sending) == 0 && len(s.ready) == 0
}

func (w *worker) answer() {
	for _, l := range w.answering {
		l.Answer()
	}
}

// reschedule queues a lane again if it has a next command.
func (s *server) reschedule(l job, delay time.Duration) {
	if l.Continue() {
		s.d.carry(l.source, l.key, delay)
	}
}

// judge updates the breaker: one command with a response is enough to close it.
func (s *server) judge(cmds []redis.Cmder, began time.Time) {
	i := slices.IndexFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() == nil || !isDown(cmd.Err()) })
	if i < 0 {
		s.fail(began, cmds[0].Err())
		return
	}
	if s.failing.CompareAndSwap(true, false) {
		s.d.node.ProbeAll() // the server may have lost writes
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

// retire removes a replaced server from the count, unless it has work.
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

// clientClosed reports whether the client was closed, and if so ends the node. A
// Cluster's client also closes the clients of servers that have left.
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
