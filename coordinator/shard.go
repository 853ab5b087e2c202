package coordinator

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A shard sends the commands of lanes that one Redis server answers for. Its
// workers come with work and go without; each takes the lanes that are ready and
// sends their commands in one pipeline, so that lanes share round trips while
// each keeps one command in flight. A shard that hangs delays no other.
type shard struct {
	c       *Coordinator
	address string // of its server
	key     string // one that the server answered for when it was met
	breaker breaker

	mu      sync.Mutex
	ready   []*lane
	workers int
	rested  time.Time   // when the last worker went
	watch   *time.Timer // asks after a while of rest

	flights []*pipeline  // of the workers, under mu
	hung    atomic.Int32 // pipelines that were left behind and are still on their way
	failing atomic.Bool  // nothing was answered the last time

	judging sync.Mutex // the breaker, with its part in c.broken
	ended   bool       // it has none any more
}

const (
	// Two workers let one pipeline be built and taken apart while the other is
	// at Redis.
	workersPerShard  = 2
	lanesPerPipeline = 128
	// A script call for several families keeps other clients waiting for a few
	// milliseconds at the most.
	lanesPerCall      = 128
	operationsPerCall = 512
)

// push makes a lane ready.
func (s *shard) push(l *lane) {
	s.mu.Lock()
	s.ready = append(s.ready, l)
	start := s.workers < workersPerShard
	woken := s.workers == 0 && !s.rested.IsZero() && now().Sub(s.rested) > unheard
	if start {
		s.workers++
		s.c.workers.Add(1)
	}
	s.mu.Unlock()
	if start {
		go s.work()
	}
	if woken {
		s.c.watch()
	}
}

// take returns the lanes of the next pipeline, or none, and then the worker ends.
func (s *shard) take(into []*lane) []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.ready), lanesPerPipeline)
	for i := range n {
		// Two lanes of a family are to take turns at Redis, not to go there together.
		if l := s.ready[i]; i > 0 && (l.first != nil || l.second.Load() != nil) {
			n = i
			break
		}
	}
	into = append(into[:0], s.ready[:n]...)
	s.ready = append(s.ready[:0], s.ready[n:]...)
	switch {
	case n == 0:
		s.workers--
		s.c.workers.Done()
		s.rest()
	case len(s.ready) > 0 && s.workers < workersPerShard:
		s.workers++
		s.c.workers.Add(1)
		go s.work()
	}
	return into
}

// rest watches over a server that this node asks nothing. The shard is locked.
func (s *shard) rest() {
	if s.workers > 0 || !s.c.config.repairs() {
		return
	}
	s.rested = now()
	if s.watch == nil {
		s.watch = time.AfterFunc(watchEvery, s.c.watch)
	} else {
		s.watch.Reset(watchEvery)
	}
}

func (s *shard) work() {
	p := takePipeline()
	s.board(p)
	for {
		p.clear()
		p.lanes = s.take(p.lanes)
		if len(p.lanes) == 0 {
			if s.breaker.state() != breakerClosed {
				s.c.dropReplaced()
			}
			s.unboard(p)
			pipelines.Put(p)
			return
		}
		for _, l := range p.lanes {
			if args := l.next(); args != nil {
				p.add(s.c, l, args)
			} else if l.again() {
				s.push(l)
			}
		}
		cmds := p.commands(s.c)
		began, taken := now(), s.takeOff(p)
		s.c.send(cmds)
		if !p.land(taken) {
			s.hung.Add(-1)
			return // another goroutine works in this one's place
		}
		s.c.reloadTopology(cmds)
		s.judge(cmds, began)
		for _, g := range p.groups {
			g.distribute(s.c)
		}
		// The callers just answered run now, and what they ask next goes along.
		runtime.Gosched()
	}
}

// judge tells the breaker: one command that was answered is enough.
func (s *shard) judge(cmds []redis.Cmder, began time.Time) {
	if len(cmds) == 0 {
		return
	}
	down := func(cmd redis.Cmder) bool { return cmd.Err() != nil && isDown(cmd.Err()) }
	if slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return !down(cmd) }) {
		s.answered()
	} else {
		s.unanswered(began, cmds[0].Err())
	}
}

func (s *shard) answered() {
	if s.failing.CompareAndSwap(true, false) {
		s.c.suspect()
	}
	s.judging.Lock()
	defer s.judging.Unlock()
	if s.ended {
		return
	}
	if outage, closed := s.breaker.succeeded(now()); closed {
		s.c.broken.Add(-1)
		s.c.config.logger.Info("bursar: Redis answers again; calls go through", "server", s.address, "outage", outage.Round(time.Millisecond))
	}
}

func (s *shard) unanswered(began time.Time, err error) {
	s.failing.Store(true)
	s.judging.Lock()
	defer s.judging.Unlock()
	if !s.ended && s.breaker.failed(began, now()) {
		s.c.broken.Add(1)
		s.c.config.logger.Error("bursar: Redis does not answer; new calls are refused until it does",
			"server", s.address, "after", s.breaker.after, "error", err)
	}
}

// name is the server's in errors.
func (s *shard) name() string {
	if s.address == "" {
		return "Redis"
	}
	return s.address
}

// end takes the shard of a replaced server out of the count, unless it is at work.
func (s *shard) end() bool {
	s.mu.Lock()
	atWork := s.workers > 0 || len(s.ready) > 0
	s.mu.Unlock()
	if atWork {
		return false
	}
	s.judging.Lock()
	defer s.judging.Unlock()
	if !s.ended && s.breaker.state() != breakerClosed {
		s.c.broken.Add(-1)
		s.c.config.logger.Info("bursar: a server that did not answer was replaced; calls go to the new one", "server", s.address)
	}
	s.ended = true
	return true
}

// reloadTopology: go-redis learns of a promoted master by redirections, and a dead
// one redirects nobody. go-redis does it at most once at a time.
func (c *Coordinator) reloadTopology(cmds []redis.Cmder) {
	if c.cluster == nil {
		return
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			switch classify(err) {
			case failureLost, failureUnsent, failureTransient:
				c.cluster.ReloadState(c.ctx)
				return
			case failureUnknown, failureNoScript, failureMemory, failureRefused, failureKinds:
			}
		}
	}
}

// schedule brings a lane back to its shard, at once or after a while.
func (c *Coordinator) schedule(l *lane, delay time.Duration) {
	if !l.again() {
		return
	}
	if delay == 0 {
		c.shardOf(l).push(l)
		return
	}
	time.AfterFunc(delay, func() { c.shardOf(l).push(l) })
}

// command is a command that go-redis does not repeat by itself: a lane knows
// better when, and hears of an error at once.
type command struct{ redis.Cmd }

// NoRetry tells go-redis.
func (*command) NoRetry() bool { return true }

func newCommand(ctx context.Context, args []any) *command {
	cmd := &command{*redis.NewCmd(ctx, args...)}
	switch {
	case len(args) <= 3:
	case isScript(args):
		cmd.SetFirstKeyPos(3)
	default:
		cmd.SetFirstKeyPos(1)
	}
	return cmd
}

func isScript(args []any) bool { return args[0] == "eval" || args[0] == "evalsha" }

// reply returns nil for Redis' nil.
func (c *command) reply() (any, error) {
	value, err := c.Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return nil, nil //nolint:nilnil // nil is a value here
	}
	return value, err
}

// send runs commands; each carries its own error. Callers' contexts have no part
// in it: a call that ends must not cut off the others in its pipeline.
func (c *Coordinator) send(cmds []redis.Cmder) {
	ctx, cancel := c.sendContext()
	defer cancel()
	switch len(cmds) {
	case 0:
	case 1:
		_ = c.client.Process(ctx, cmds[0]) // the command carries the error
	default:
		pipe := c.client.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, cmd) // queues; cannot fail
		}
		if _, err := pipe.Exec(ctx); err != nil {
			stamp(cmds, err)
		}
	}
}

// stamp gives the error of a pipeline to those of its commands that have neither an error
// nor a value. go-redis does not, if a new connection's first commands are answered by an
// error, and a hook may return one of its own.
func stamp(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		if c, ours := cmd.(*command); ours && c.Err() == nil && c.Val() == nil {
			c.SetErr(err)
		}
	}
}
