package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A flight is a worker's pipeline between its sending and its replies. A connection can
// stay silent for ever: the client may have no read timeout, and a proxy may lose a reply.
// So the node bounds each flight itself. A pipeline that is overdue is left behind with
// the goroutine that sent it, its lanes repeat their commands on another connection, which
// harms nothing, and another goroutine goes on in the worker's place.
//
// The goroutine that sent a pipeline and the timer that watches it decide by one
// compare-and-swap of began whose the lanes are.
type flight struct {
	shard atomic.Pointer[shard]
	began atomic.Int64 // by uptime; 0: nothing is on its way
	watch *time.Timer
}

// maxFlight is how long a pipeline may be on its way. It is longer than go-redis' read
// timeout unless told otherwise (5 s), which also closes the connection.
const maxFlight = 6 * time.Second

// maxPatience bounds how often maxFlight is doubled.
const maxPatience = 4

var errUnanswered = errors.New("no reply in time")

var started = now()

// uptime is the process' age, in nanoseconds.
func uptime() int64 { return int64(now().Sub(started)) }

func takePipeline() *pipeline {
	if p, ok := pipelines.Get().(*pipeline); ok {
		return p
	}
	p := new(pipeline)
	p.watch = time.AfterFunc(time.Hour, p.overdue)
	p.watch.Stop()
	return p
}

// board notes a worker's pipeline, so that its age can be asked for.
func (s *shard) board(p *pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights = append(s.flights, p)
}

func (s *shard) unboard(p *pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights = slices.DeleteFunc(s.flights, func(other *pipeline) bool { return other == p })
}

// takeOff is called before the pipeline is sent.
func (s *shard) takeOff(p *pipeline) (began int64) {
	began = uptime()
	p.shard.Store(s)
	p.began.Store(began)
	p.watch.Reset(s.nextLook(0))
	return began
}

// land reports whether the pipeline is still the worker's; else it was left behind.
func (p *pipeline) land(began int64) bool {
	if !p.began.CompareAndSwap(began, 0) {
		return false
	}
	p.watch.Stop()
	return true
}

// patience is how long a pipeline may be on its way now. Each that was left behind keeps
// a connection, so it grows with them.
func (s *shard) patience() time.Duration {
	return s.c.config.maxFlight << min(int(s.hung.Load())/workersPerShard, maxPatience)
}

// nextLook is when a pipeline of some age is looked at again.
func (s *shard) nextLook(age time.Duration) time.Duration {
	wait := s.patience() - age
	if left := s.breaker.after - age; left > 0 {
		wait = min(wait, left)
	}
	return max(wait, time.Millisecond)
}

// overdue looks at a pipeline that is long on its way.
func (p *pipeline) overdue() {
	began := p.began.Load()
	if began == 0 {
		return // it has landed
	}
	s, age := p.shard.Load(), time.Duration(uptime()-began)
	switch {
	case age >= s.patience():
		if p.began.CompareAndSwap(began, 0) {
			s.leaveBehind(p, age)
		}
		return
	case s.breaker.after > 0 && age >= s.breaker.after:
		s.unanswered(now().Add(-age), errUnanswered)
	}
	p.watch.Reset(s.nextLook(age))
}

// leaveBehind goes on in the place of the worker that waits for the pipeline.
func (s *shard) leaveBehind(p *pipeline, age time.Duration) {
	s.hung.Add(1)
	s.unboard(p)
	s.c.config.logger.Warn("bursar: left an unanswered command behind", "server", s.address, "after", age.Round(time.Millisecond), "left_behind", s.hung.Load())
	s.unanswered(now().Add(-age), errUnanswered)
	if s.c.cluster != nil {
		s.c.cluster.ReloadState(s.c.ctx)
	}
	for _, g := range p.groups {
		for _, l := range g.lanes {
			if l.pending != nil {
				l.pending.leaveBehind()
			}
			s.c.schedule(l, l.handle(nil, errUnanswered))
		}
	}
	s.work()
}

// leaveBehind leaves the memory of the batch's arguments to a command that may still be
// written.
func (b *batch) leaveBehind() {
	b.args = slices.Clone(b.args)
	b.left = true
}

// oldest is the age of the pipeline that is longest on its way.
func (s *shard) oldest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := time.Duration(0)
	for _, p := range s.flights {
		if began := p.began.Load(); began != 0 {
			oldest = max(oldest, time.Duration(uptime()-began))
		}
	}
	return oldest
}

// longUnanswered returns an error if a server, which answers others, has not answered one
// of the node's commands for a while.
func (c *Coordinator) longUnanswered() error {
	c.shardsMu.RLock()
	defer c.shardsMu.RUnlock()
	for _, s := range c.shards {
		if age := s.oldest(); age > unheard {
			return fmt.Errorf("%w: %s: a command is unanswered for %s", ErrUnavailable, s.name(), age.Round(time.Millisecond))
		}
	}
	return nil
}

// within runs do, and reports whether it ended in time. Else do goes on by itself, and what
// it uses is its own.
func (c *Coordinator) within(do func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do()
	}()
	timer := time.NewTimer(c.config.maxFlight)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

// ask sends a command beside the lanes.
func (c *Coordinator) ask(server redis.UniversalClient, args []any) (any, error) {
	cmd := newCommand(c.ctx, args)
	if !c.within(func() { _ = server.Process(c.ctx, cmd) }) { // the command carries the error
		return nil, errUnanswered
	}
	return cmd.reply()
}

// bounded returns the client with a read and a write timeout, unless it has a read timeout:
// so a connection that stays silent is closed. Only a single server's client can be given
// one; a Cluster's takes it from contexts, if it is told to.
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

// sendContext is the context that commands are sent with.
func (c *Coordinator) sendContext() (context.Context, context.CancelFunc) {
	if !c.deadlines {
		return c.ctx, func() {}
	}
	return context.WithTimeout(c.ctx, c.config.readLimit())
}

// readLimit is for clients without a read timeout. The pipeline is left behind before it.
func (c *config) readLimit() time.Duration { return c.maxFlight + c.maxFlight/2 }
