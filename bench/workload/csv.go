package workload

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TraceHeader names the columns of a trace.
const TraceHeader = "TIMESTAMP,ContextTokens,GeneratedTokens"

// The columns, by their order in TraceHeader.
const (
	timestampColumn = iota
	contextColumn
	generatedColumn
	traceColumns
)

const maxTokens = 1_000_000_000

// Recording has the rows of a trace, or one node's share of them.
type Recording struct {
	Rows  []Request       // without tenants
	At    []time.Duration `json:",omitempty"` // since the first row of all; nil unless times matter
	First int             // Rows[i] is row First+i*Every of all
	Every int
}

// parseTrace reads all rows, so that a bad line is found before the run. Errors name the
// file, line and column. Timestamps are parsed only if timed.
func parseTrace(name string, from io.Reader, t tariff, timed bool) (*Recording, error) {
	rows, err := openTable(name, from)
	if err != nil {
		return nil, err
	}
	read := &Recording{Every: 1}
	var times clocked
	for err = rows.next(); err == nil; err = rows.next() {
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
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(read.Rows) == 0 {
		return nil, fmt.Errorf("%s:%d: no request: write one per line, below the names of the columns", name, rows.lines.number)
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

const maxTraceLine = 1 << 20 // bytes

// table reads a CSV file, plain or gzip, whose first line names the columns of TraceHeader in
// any order and case. Other columns are ignored.
type table struct {
	name    string // of the file
	lines   *lineReader
	rows    *csv.Reader
	header  []string
	columns [traceColumns]int // their positions
	fields  []string          // of the current row
}

// openTable reads the first line.
func openTable(name string, from io.Reader) (*table, error) {
	t := &table{name: name, lines: &lineReader{number: 1}}
	var err error
	if t.lines.from, err = plainText(from); err != nil {
		return nil, t.unreadable(err)
	}
	t.rows = csv.NewReader(t.lines)
	t.rows.ReuseRecord, t.rows.TrimLeadingSpace, t.rows.FieldsPerRecord = true, true, -1
	t.fields, err = t.rows.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, t.unreadable(err)
	}
	t.header = slices.Clone(t.fields)
	for i, column := range strings.Split(TraceHeader, ",") {
		if t.columns[i], err = t.find(column); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// plainText returns the decompressed text without a byte order mark.
func plainText(from io.Reader) (io.Reader, error) {
	text := bufio.NewReader(from)
	if compressed, err := begins(text, "\x1f\x8b"); err != nil {
		return nil, err
	} else if compressed {
		plain, err := gzip.NewReader(text)
		if err != nil {
			return nil, err
		}
		text = bufio.NewReader(plain)
	}
	const mark = "\ufeff"
	marked, err := begins(text, mark)
	if marked {
		_, err = text.Discard(len(mark))
	}
	return text, err
}

// begins reports whether a text begins with some bytes.
func begins(text *bufio.Reader, with string) (bool, error) {
	first, err := text.Peek(len(with))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return string(first) == with, nil
}

// find returns the position of a column.
func (t *table) find(column string) (int, error) {
	place := -1
	for i, name := range t.header {
		if !strings.EqualFold(bare(name), column) {
			continue
		}
		if place >= 0 {
			return 0, fmt.Errorf("%s:%d: columns %d and %d are both %s: rename one of them", t.name, t.end(), place+1, i+1, column)
		}
		place = i
	}
	if place < 0 {
		return 0, fmt.Errorf("%s:%d: no column %s: name the columns %s in the first line, which is %.80q", t.name, t.end(), column, TraceHeader, strings.Join(t.header, ","))
	}
	return place, nil
}

// bare makes context_tokens and "Context Tokens" equal to ContextTokens.
func bare(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "", "\t", "").Replace(name)
}

// next reads a row, or returns io.EOF.
func (t *table) next() (err error) {
	t.fields, err = t.rows.Read()
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return t.unreadable(err)
	}
	switch got, want := len(t.fields), len(t.header); {
	case got < want:
		return fmt.Errorf("%s:%d: column %s is missing: %d columns, the first line has %d: write all of them", t.name, t.end(), t.called(got), got, want)
	case got > want:
		return fmt.Errorf("%s:%d: column %d has no name: %d columns, the first line has %d: quote a field that has a comma", t.name, t.end(), want+1, got, want)
	default:
		return nil
	}
}

// field returns the value in a column.
func (t *table) field(column int) string { return strings.TrimSpace(t.fields[t.columns[column]]) }

// line returns the line of a column of the row.
func (t *table) line(column int) int {
	line, _ := t.rows.FieldPos(t.columns[column])
	return line
}

// end returns the line of the row's last field.
func (t *table) end() int {
	if len(t.fields) == 0 {
		return t.lines.number
	}
	line, _ := t.rows.FieldPos(len(t.fields) - 1)
	return line
}

// called returns the name of a column in the first line.
func (t *table) called(place int) string {
	if place >= len(t.header) || strings.TrimSpace(t.header[place]) == "" {
		return fmt.Sprint(place + 1)
	}
	return strings.TrimSpace(t.header[place])
}

// wrong returns an error about a column of the row.
func (t *table) wrong(column int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: column %s"+format, append([]any{t.name, t.line(column), t.called(t.columns[column])}, args...)...)
}

// unreadable returns an error about reading a row.
func (t *table) unreadable(err error) error {
	var syntax *csv.ParseError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: column %s: %w: quote the field, and double the quotes in it", t.name, syntax.StartLine, t.called(len(t.fields)), syntax.Err)
	case errors.Is(err, errLongLine):
		return fmt.Errorf("%s:%d: %w: give a CSV file with the columns %s", t.name, t.lines.number, err, TraceHeader)
	default:
		return fmt.Errorf("%s:%d: %w: give a whole CSV file, plain or compressed by gzip", t.name, t.lines.number, err)
	}
}

var errLongLine = fmt.Errorf("longer than %d bytes", maxTraceLine)

// lineReader counts lines and bounds their length.
type lineReader struct {
	from   io.Reader
	number int // of the current line
	length int // of it so far
}

func (l *lineReader) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		l.length += len(line)
		if l.length > maxTraceLine {
			return 0, errLongLine
		}
		if rest = after; ended {
			l.number, l.length = l.number+1, 0
		}
	}
	return n, err
}
