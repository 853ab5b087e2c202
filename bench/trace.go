package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

const (
	traceHeader  = "TIMESTAMP,ContextTokens,GeneratedTokens"
	maxTraceLine = 4096
	maxTokens    = 1_000_000_000
)

// recorded is a usage trace: its rows in their order, each once, for whichever caller
// is free; the tenants take turns.
type recorded struct {
	rows []request
	at   []time.Duration // since the first row; nil where the rows' times do not matter
	due  bool            // the callers are told which row is due
}

func (t *recorded) part(round, rounds int) part {
	from, to := len(t.rows)*round/rounds, len(t.rows)*(round+1)/rounds
	p := &recordedPart{turn: turn{round, rounds}, rows: t.rows[from:to], due: t.due}
	if t.at != nil {
		p.at = t.at[from:to]
		if from > 0 && from < to {
			p.began = t.at[from]
		}
	}
	return p
}

func (t *recorded) typical() budget.Microcents { return meanHold(t.rows) }

// share is every so many rows, from one on: the part of one node of many.
func (t *recorded) share(node, nodes int) *recorded {
	mine := &recorded{due: t.due}
	for i := node; i < len(t.rows); i += nodes {
		mine.rows = append(mine.rows, t.rows[i])
		if t.at != nil {
			mine.at = append(mine.at, t.at[i])
		}
	}
	return mine
}

type recordedPart struct {
	turn
	rows  []request
	at    []time.Duration
	due   bool
	began time.Duration
	taken atomic.Uint64
}

func (p *recordedPart) source(int) source { return p }

func (p *recordedPart) next(number uint64, r *request) bool {
	if !p.due {
		number = p.taken.Add(1) - 1
	}
	if number >= uint64(len(p.rows)) {
		return false
	}
	*r = p.rows[number]
	return true
}

// offset: the first part keeps the time before its first row, which other nodes may
// have.
func (p *recordedPart) offset(number int) (time.Duration, bool) {
	switch {
	case number >= len(p.rows):
		return 0, false
	case p.at == nil:
		return 0, true
	default:
		return p.at[number] - p.began, true
	}
}

func readTrace(c Config) (*recorded, error) {
	file, err := os.Open(c.Trace)
	if err != nil {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace: %w", err))
	}
	defer file.Close()
	trace, err := parseTrace(c.Trace, file, c.tariff(), c.Tenants, c.Speed > 0)
	if err != nil {
		return nil, err
	}
	trace.due = c.arrivals().open()
	if lasts := c.lasting(trace); c.Speed > 0 && c.Duration == 0 && lasts > MaxDuration {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace %s lasts %s at --speed %g: give more speed, or --duration", c.Trace, lasts, c.Speed))
	}
	return trace, nil
}

// traceOf is the trace that is played, if one is.
func traceOf(work workload) (*recorded, bool) {
	if l, ok := work.(limited); ok {
		work = l.workload
	}
	trace, ok := work.(*recorded)
	return trace, ok
}

// offered is the mean rate of a trace over its length, at the speed asked for.
func (c Config) offered(t *recorded) float64 {
	lasts := c.lasting(t)
	if lasts == 0 {
		return 0
	}
	return float64(len(t.rows)) / lasts.Seconds()
}

// lasting is how long a trace takes at the speed asked for; 0 is not known.
func (c Config) lasting(t *recorded) time.Duration {
	if c.Speed == 0 {
		return 0
	}
	return time.Duration(float64(t.at[len(t.at)-1]) / c.Speed)
}

// parseTrace reads all rows before the first is played: a bad line at the end
// is found before anything has happened. Errors name file and line.
// The rows' times are read where they matter; else a timestamp may be anything.
func parseTrace(name string, from io.Reader, t tariff, tenants int, timed bool) (*recorded, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, maxTraceLine), maxTraceLine)
	var trace recorded
	var times clocked
	number := 0
	for lines.Scan() {
		number++
		line := lines.Bytes() // without its line ending, of either kind
		if number == 1 {
			if header := string(bytes.TrimPrefix(line, []byte("\ufeff"))); header != traceHeader {
				return nil, fmt.Errorf("%s:1: the first line is %.80q; it must be %s", name, header, traceHeader)
			}
			continue
		}
		if len(line) == 0 {
			continue
		}
		row, timestamp, err := parseRow(string(line), t)
		if err == nil && timed {
			err = times.add(timestamp)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		row.tenant = len(trace.rows) % tenants
		trace.rows = append(trace.rows, row)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w; is it a file of lines %s?", name, number+1, err, traceHeader)
	}
	if len(trace.rows) == 0 {
		return nil, fmt.Errorf("%s:%d: no request in it; a line is a timestamp, context tokens, generated tokens", name, number+1)
	}
	trace.at = times.at
	return &trace, nil
}

// clocked are the rows' times since the first.
type clocked struct {
	first time.Time
	at    []time.Duration
}

// timestampLayouts: both may have any number of digits after the second.
var timestampLayouts = []string{time.DateTime, time.RFC3339}

func (c *clocked) add(timestamp string) error {
	for _, layout := range timestampLayouts {
		at, err := time.Parse(layout, timestamp)
		if err != nil {
			continue
		}
		if len(c.at) == 0 {
			c.first = at
		}
		since := at.Sub(c.first)
		if len(c.at) > 0 && since < c.at[len(c.at)-1] {
			return fmt.Errorf("%q is before the row above it; sort the rows by their time", timestamp)
		}
		c.at = append(c.at, since)
		return nil
	}
	return fmt.Errorf("%.40q is no timestamp that --speed understands; write 2023-11-16 18:17:03.9799600 or 2023-11-16T18:17:03Z", timestamp)
}

func parseRow(line string, t tariff) (row request, timestamp string, err error) {
	fields := strings.Split(line, ",")
	if len(fields) != 3 || fields[0] == "" {
		return request{}, "", fmt.Errorf("%.80q: want a timestamp, context tokens, generated tokens, with commas between them", line)
	}
	context, err := parseTokens("context tokens", fields[1])
	if err != nil {
		return request{}, "", err
	}
	generated, err := parseTokens("generated tokens", fields[2])
	if err != nil {
		return request{}, "", err
	}
	row, err = t.request(context, generated)
	if err != nil {
		return request{}, "", fmt.Errorf("it cannot be priced: %w; lower the prices", err)
	}
	return row, fields[0], nil
}

func parseTokens(what, text string) (int64, error) {
	tokens, err := strconv.ParseInt(text, 10, 64)
	if err != nil || tokens < 0 || tokens > maxTokens {
		return 0, fmt.Errorf("%.40q %s: give an integer from 0 to %d", text, what, maxTokens)
	}
	return tokens, nil
}
