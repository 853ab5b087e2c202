package load

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Trace is a usage trace: its rows in their order, each once, for whichever caller
// is free; the tenants take turns.
type Trace struct {
	rows []Request
	at   []time.Duration // since the first row; nil where the rows' times do not matter
	due  bool            // the callers are told which row is due
}

// Part is as many rows as any other part has, up to one.
func (t *Trace) Part(round, rounds int) Part {
	from, to := len(t.rows)*round/rounds, len(t.rows)*(round+1)/rounds
	p := &tracePart{Turn: Turn{round, rounds}, rows: t.rows[from:to], due: t.due}
	if t.at != nil {
		p.at = t.at[from:to]
		if from > 0 && from < to {
			p.began = t.at[from]
		}
	}
	return p
}

// Typical is the mean hold.
func (t *Trace) Typical() budget.Microcents { return meanHold(t.rows) }

// share is every so many rows, from one on: the part of one node of many.
func (t *Trace) share(node, nodes int) *Trace {
	mine := &Trace{due: t.due}
	for i := node; i < len(t.rows); i += nodes {
		mine.rows = append(mine.rows, t.rows[i])
		if t.at != nil {
			mine.at = append(mine.at, t.at[i])
		}
	}
	return mine
}

type tracePart struct {
	Turn
	rows  []Request
	at    []time.Duration
	due   bool
	began time.Duration
	taken atomic.Uint64
}

// Source is the same for every caller: each row is played once.
func (p *tracePart) Source(int) Source { return p }

// Next is the next row, or in an open loop the one that is due.
func (p *tracePart) Next(number uint64, r *Request) bool {
	if !p.due {
		number = p.taken.Add(1) - 1
	}
	if number >= uint64(len(p.rows)) {
		return false
	}
	*r = p.rows[number]
	return true
}

// Offset is as recorded. The first part keeps the time before its first row, which
// other nodes may have.
func (p *tracePart) Offset(number int) (time.Duration, bool) {
	switch {
	case number >= len(p.rows):
		return 0, false
	case p.at == nil:
		return 0, true
	default:
		return p.at[number] - p.began, true
	}
}

func readTrace(s Spec) (*Trace, error) {
	file, err := os.Open(s.Trace)
	if err != nil {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace: %w", err))
	}
	defer file.Close()
	trace, err := parseTrace(s.Trace, file, s.tariff(), s.Tenants, s.Speed > 0)
	if err != nil {
		return nil, err
	}
	trace.due = s.Arrivals().Open()
	return trace, nil
}

// TraceOf is the trace that is played, if one is.
func TraceOf(work Workload) (*Trace, bool) {
	if l, ok := work.(limited); ok {
		work = l.Workload
	}
	trace, ok := work.(*Trace)
	return trace, ok
}

// Offered is the mean rate of a trace over its length at a speed, in requests a second.
func (t *Trace) Offered(speed float64) float64 {
	lasts := t.Lasting(speed)
	if lasts == 0 {
		return 0
	}
	return float64(len(t.rows)) / lasts.Seconds()
}

// Lasting is how long a trace takes at a speed; 0 is not known.
func (t *Trace) Lasting(speed float64) time.Duration {
	if speed == 0 {
		return 0
	}
	return time.Duration(float64(t.at[len(t.at)-1]) / speed)
}
