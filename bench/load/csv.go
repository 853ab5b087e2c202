package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// TraceHeader is the first line of a trace.
const TraceHeader = "TIMESTAMP,ContextTokens,GeneratedTokens"

// Bounds of a trace.
const (
	maxTraceLine = 4096 // bytes
	maxTokens    = 1_000_000_000
)

// parseTrace reads all rows before the first is played: a bad line at the end
// is found before anything has happened. Errors name file and line.
// The rows' times are read where they matter; else a timestamp may be anything.
func parseTrace(name string, from io.Reader, t tariff, tenants int, timed bool) (*Trace, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, maxTraceLine), maxTraceLine)
	var trace Trace
	var times clocked
	number := 0
	for lines.Scan() {
		number++
		line := lines.Bytes() // without its line ending, of either kind
		if number == 1 {
			if header := string(bytes.TrimPrefix(line, []byte("\ufeff"))); header != TraceHeader {
				return nil, fmt.Errorf("%s:1: the first line is %.80q; it must be %s", name, header, TraceHeader)
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
		row.Tenant = len(trace.rows) % tenants
		trace.rows = append(trace.rows, row)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w; is it a file of lines %s?", name, number+1, err, TraceHeader)
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

func parseRow(line string, t tariff) (row Request, timestamp string, err error) {
	fields := strings.Split(line, ",")
	if len(fields) != 3 || fields[0] == "" {
		return Request{}, "", fmt.Errorf("%.80q: want a timestamp, context tokens, generated tokens, with commas between them", line)
	}
	context, err := parseTokens("context tokens", fields[1])
	if err != nil {
		return Request{}, "", err
	}
	generated, err := parseTokens("generated tokens", fields[2])
	if err != nil {
		return Request{}, "", err
	}
	row, err = t.request(context, generated)
	if err != nil {
		return Request{}, "", fmt.Errorf("it cannot be priced: %w; lower the prices", err)
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
