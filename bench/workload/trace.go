package workload

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Trace is a usage trace. Each row is sent once, in the order of the file, by the next free
// worker. Rows name no tenant: they are dealt to the tenants in turn.
type Trace struct {
	*Recording
	tenants int
	due     bool // whether workers ask for the row that is due
}

// Round returns an equal share of the rows, up to one.
func (t *Trace) Round(round, rounds int) Round {
	from, to := len(t.Rows)*round/rounds, len(t.Rows)*(round+1)/rounds
	r := &traceRound{RoundNo: RoundNo{round, rounds}, trace: t, from: from, rows: t.Rows[from:to]}
	if t.At != nil {
		r.at = t.At[from:to]
		if from > 0 && from < to {
			r.began = t.At[from]
		}
	}
	return r
}

// tenantOf returns the tenant of a row, which is the same on every node.
func (t *Trace) tenantOf(row int) int { return (t.First + row*t.Every) % t.tenants }

// TypicalHold returns the mean hold.
func (t *Trace) TypicalHold() budget.Microcents { return meanHold(t.Rows) }

type traceRound struct {
	RoundNo
	trace *Trace
	from  int // first row of the round
	rows  []Request
	at    []time.Duration
	began time.Duration
	taken atomic.Uint64
}

// Generator is shared by all workers.
func (r *traceRound) Generator(int) Generator { return r.next }

// next sets req to the row that is due, or to the next one that no worker has taken.
func (r *traceRound) next(number uint64, req *Request) bool {
	if !r.trace.due {
		number = r.taken.Add(1) - 1
	}
	if number >= uint64(len(r.rows)) {
		return false
	}
	*req = r.rows[number]
	req.Tenant = r.trace.tenantOf(r.from + int(number)) //nolint:gosec // it is below a length
	return true
}

// Offset is the recorded one. The first round keeps the time before its first row, because
// another node may have rows in it.
func (r *traceRound) Offset(number int) (time.Duration, bool) {
	switch {
	case number >= len(r.rows):
		return 0, false
	case r.at == nil:
		return 0, true
	default:
		return r.at[number] - r.began, true
	}
}

// TraceOf returns the trace of a workload, if it is one.
func TraceOf(work Workload) (*Trace, bool) {
	if l, ok := work.(limited); ok {
		work = l.Workload
	}
	trace, ok := work.(*Trace)
	return trace, ok
}

// Offered returns the mean rate at a speed, in requests per second.
func (t *Trace) Offered(speed float64) float64 {
	lasts := t.Lasting(speed)
	if lasts == 0 {
		return 0
	}
	return float64(len(t.Rows)) / lasts.Seconds()
}

// Lasting returns the length at a speed, or 0 if unknown.
func (t *Trace) Lasting(speed float64) time.Duration {
	if speed == 0 {
		return 0
	}
	return atSpeed(t.At[len(t.At)-1], speed)
}

// clocked has the times of rows since the first.
type clocked struct {
	first  time.Time
	at     []time.Duration
	layout int // of the previous row
}

// time.Parse accepts any fraction after the seconds. A time without a zone is UTC.
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
		return fmt.Errorf("%.40q is not a timestamp that --speed can read: write 2023-11-16 18:17:03.97 or 2023-11-16T18:17:03+00:00", timestamp)
	}
	if len(c.at) == 0 {
		c.first = at
	}
	since := at.Sub(c.first)
	if len(c.at) > 0 && since < c.at[len(c.at)-1] {
		return fmt.Errorf("%.40q is before the row above it: sort the rows by time", timestamp)
	}
	c.at = append(c.at, since)
	return nil
}

// parse tries the layout of the previous row first.
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
