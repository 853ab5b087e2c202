package bench

import (
	"context"
	"time"

	"github.com/calybris/bursar/bench/live"
	"github.com/calybris/bursar/bench/load"
)

// match is one run in progress.
type match struct {
	config   Config
	work     load.Workload
	arena    *arena
	entrants []*entrant    // ours first
	raced    field         // what is played for after the rounds
	watcher  *live.Watcher // nil where nobody watches
	failure  error
	lost     bool // the failure is that Redis is gone
}

// enter lets the contenders beside ours in, with as many nodes and callers, and
// budgets alike.
func (m *match) enter(ctx context.Context) error {
	m.entrants = []*entrant{m.arena.ours}
	if len(m.config.Against) > 0 {
		var err error
		if m.raced, err = m.arena.raceField(m.work.Typical()); err != nil {
			return err
		}
	}
	for _, name := range m.config.Against {
		e, err := m.arena.enter(ctx, m.config, name, m.arena.field, poolSizes(m.config.Concurrency))
		if err != nil {
			return err
		}
		m.entrants = append(m.entrants, e)
	}
	m.observe()
	return nil
}

// observe keeps the story of ours, and lets a live view see all.
func (m *match) observe() {
	for _, p := range m.arena.ours.pools {
		p.fleet.KeepStory()
	}
	if m.config.Watch == nil {
		return
	}
	m.watcher = live.NewWatcher(m.config.Watch, m.lasting())
	for _, e := range m.entrants {
		for _, p := range e.pools {
			p.fleet.Watch(m.watcher.Sampled)
		}
	}
}

// lasting is how long all rounds take with what comes before them; 0 is not known.
func (m *match) lasting() time.Duration {
	c := m.config
	whole := c.Duration * time.Duration(len(m.entrants))
	if trace, ok := load.TraceOf(m.work); ok && c.Duration == 0 {
		return trace.Lasting(c.Speed) * time.Duration(len(m.entrants))
	}
	for _, e := range m.entrants {
		whole += c.warmupOf(len(e.pools)) * time.Duration(len(e.pools))
	}
	return whole
}

// playAll plays the rounds and the race, unless the Redis behind dies.
func (m *match) playAll(ctx context.Context) {
	watched, end := m.arena.vigil(ctx)
	if m.failure = m.play(watched); m.failure == nil && len(m.entrants) > 1 {
		m.failure = m.race(watched)
	}
	if loss := end(); loss != nil {
		m.failure, m.lost = loss, true // what the callers say of it follows from it
	}
}

// play has the contenders take turns; each round begins with the next of them.
func (m *match) play(ctx context.Context) error {
	turns := m.config.rounds()
	limit := share(m.config.Duration, turns)
	for turn := range turns {
		for i := range m.entrants {
			e := m.entrants[(turn+i)%len(m.entrants)]
			if ctx.Err() != nil {
				return nil
			}
			m.watcher.Announce(turn, turns, e.name)
			if err := e.play(ctx, m.arena.meter, m.work, turn, turns, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// With contenders the time is divided into rounds, in which they take turns, so that
// the machine's mood favours none.
const defaultRounds = 5

func (c Config) rounds() int {
	switch {
	case c.Rounds > 0:
		return c.Rounds
	case len(c.Against) > 0:
		return defaultRounds
	default:
		return 1
	}
}

// share divides a duration; 0 stays 0, which is no limit, and nothing else gets there.
func share(whole time.Duration, parts int) time.Duration {
	if whole == 0 {
		return 0
	}
	return max(whole/time.Duration(parts), 1)
}
