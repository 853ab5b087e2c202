package load

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// TraceHeader names the columns of a trace that are read.
const TraceHeader = "TIMESTAMP,ContextTokens,GeneratedTokens"

// The columns, by their places in TraceHeader.
const (
	timestampColumn = iota
	contextColumn
	generatedColumn
	traceColumns
)

const maxTokens = 1_000_000_000

// Recording is a trace as it was read, or one node's share of it.
type Recording struct {
	Rows  []Request       // of no tenant yet
	At    []time.Duration `json:",omitempty"` // since the first row of the whole; nil unless times matter
	First int             // Rows[i] is row First+i*Every of the whole
	Every int
}

// parseTrace reads all rows before the first is played: a bad line at the end
// is found before anything has happened. Errors name the file, the line and the column.
// The rows' times are read if they matter; else a timestamp may be anything.
func parseTrace(name string, from io.Reader, t tariff, timed bool) (*Recording, error) {
	rows, err := openTable(name, from)
	if err != nil {
		return nil, err
	}
	read := &Recording{Every: 1}
	var times clocked
	for {
		err := rows.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		row, err := parseRow(rows, t)
		if err != nil {
			return nil, err
		}
		read.Rows = append(read.Rows, row)
		if !timed {
			continue
		}
		if err := times.add(rows.field(timestampColumn)); err != nil {
			return nil, rows.wrong(timestampColumn, ": %w", err)
		}
	}
	if len(read.Rows) == 0 {
		return nil, fmt.Errorf("%s:%d: no request: write one a line, below the names of the columns", name, rows.lines.number)
	}
	read.At = times.at
	return read, nil
}

func parseRow(rows *table, t tariff) (Request, error) {
	if rows.field(timestampColumn) == "" {
		return Request{}, rows.wrong(timestampColumn, " is empty: give the time of the request")
	}
	context, err := parseTokens(rows, contextColumn)
	if err != nil {
		return Request{}, err
	}
	generated, err := parseTokens(rows, generatedColumn)
	if err != nil {
		return Request{}, err
	}
	row, err := t.request(context, generated)
	if err != nil {
		return Request{}, fmt.Errorf("%s:%d: the request cannot be priced: %w; lower the prices", rows.name, rows.line(contextColumn), err)
	}
	return row, nil
}

func parseTokens(rows *table, column int) (int64, error) {
	text := rows.field(column)
	tokens, err := strconv.ParseInt(text, 10, 64)
	switch {
	case text == "":
		return 0, rows.wrong(column, " is empty: give an integer from 0 to %d", maxTokens)
	case err != nil || tokens < 0 || tokens > maxTokens:
		return 0, rows.wrong(column, " is %.40q: give an integer from 0 to %d", text, maxTokens)
	default:
		return tokens, nil
	}
}
