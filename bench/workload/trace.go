package workload

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Trace is a usage trace: its rows in their order, each once, for whichever caller
// is free; the tenants take turns.
type Trace struct {
	*Recording
	tenants int
	due     bool // the callers are told which row is due
}

// Round is as many rows as any other part has, up to one.
func (t *Trace) Round(round, rounds int) Round {
	from, to := len(t.Rows)*round/rounds, len(t.Rows)*(round+1)/rounds
	p := &traceRound{RoundNo: RoundNo{round, rounds}, trace: t, from: from, rows: t.Rows[from:to]}
	if t.At != nil {
		p.at = t.At[from:to]
		if from > 0 && from < to {
			p.began = t.At[from]
		}
	}
	return p
}

// tenantOf is the tenant of a row, whichever node plays it.
func (t *Trace) tenantOf(row int) int { return (t.First + row*t.Every) % t.tenants }

// TypicalHold is the mean hold.
func (t *Trace) TypicalHold() budget.Microcents { return meanHold(t.Rows) }

type traceRound struct {
	RoundNo
	trace *Trace
	from  int // of the trace's rows, the first of the part
	rows  []Request
	at    []time.Duration
	began time.Duration
	taken atomic.Uint64
}

// Generator is the same for every caller: each row is played once.
func (p *traceRound) Generator(int) Generator { return p }

// Next is the next row, or in an open loop the one that is due.
func (p *traceRound) Next(number uint64, r *Request) bool {
	if !p.trace.due {
		number = p.taken.Add(1) - 1
	}
	if number >= uint64(len(p.rows)) {
		return false
	}
	*r = p.rows[number]
	r.Tenant = p.trace.tenantOf(p.from + int(number)) //nolint:gosec // it is below a length
	return true
}

// Offset is as recorded. The first part keeps the time before its first row, which
// other nodes may have.
func (p *traceRound) Offset(number int) (time.Duration, bool) {
	switch {
	case number >= len(p.rows):
		return 0, false
	case p.at == nil:
		return 0, true
	default:
		return p.at[number] - p.began, true
	}
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
	return float64(len(t.Rows)) / lasts.Seconds()
}

// Lasting is how long a trace takes at a speed; 0 is not known.
func (t *Trace) Lasting(speed float64) time.Duration {
	if speed == 0 {
		return 0
	}
	return atSpeed(t.At[len(t.At)-1], speed)
}

// clocked are the rows' times since the first.
type clocked struct {
	first  time.Time
	at     []time.Duration
	layout int // of the row before
}

// timestampLayouts: time.Parse takes any fraction after the seconds. A time without a
// zone is UTC.
var timestampLayouts = []string{
	time.DateTime,
	time.DateTime + "Z07:00",
	time.DateTime + "Z0700",
	time.DateTime + "Z07",
	time.DateTime + " Z07:00",
	time.DateTime + " Z0700",
	time.DateTime + " Z07",
}

func (c *clocked) add(timestamp string) error {
	at, ok := c.parse(timestamp)
	if !ok {
		return fmt.Errorf("%.40q is no timestamp that --speed reads: write 2023-11-16 18:17:03.97 or 2023-11-16T18:17:03+00:00", timestamp)
	}
	if len(c.at) == 0 {
		c.first = at
	}
	since := at.Sub(c.first)
	if len(c.at) > 0 && since < c.at[len(c.at)-1] {
		return fmt.Errorf("%.40q is before the row above it: sort the rows by their times", timestamp)
	}
	c.at = append(c.at, since)
	return nil
}

// parse tries the layout of the row before first.
func (c *clocked) parse(timestamp string) (time.Time, bool) {
	text := strings.ToUpper(timestamp)
	if day := len(time.DateOnly); len(text) > day && text[day] == 'T' {
		text = text[:day] + " " + text[day+1:]
	}
	for _, zone := range []string{" UTC", " GMT"} {
		text = strings.TrimSuffix(text, zone)
	}
	for i := range timestampLayouts {
		layout := (c.layout + i) % len(timestampLayouts)
		if at, err := time.Parse(timestampLayouts[layout], text); err == nil {
			c.layout = layout
			return at, true
		}
	}
	return time.Time{}, false
}
