package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

const (
	traceHeader  = "TIMESTAMP,ContextTokens,GeneratedTokens"
	maxTraceLine = 4096
	maxTokens    = 1_000_000_000
)

func readTrace(name string, t tariff, tenants int) (*recorded, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace: %w", err))
	}
	defer file.Close()
	return parseTrace(name, file, t, tenants)
}

// parseTrace reads all rows before the first is played: a bad line at the end
// is found before anything has happened. Errors name file and line.
func parseTrace(name string, from io.Reader, t tariff, tenants int) (*recorded, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, maxTraceLine), maxTraceLine)
	var trace recorded
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
		row, err := parseRow(string(line), t)
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
	return &trace, nil
}

func parseRow(line string, t tariff) (request, error) {
	fields := strings.Split(line, ",")
	if len(fields) != 3 || fields[0] == "" {
		return request{}, fmt.Errorf("%.80q: want a timestamp, context tokens, generated tokens, with commas between them", line)
	}
	context, err := parseTokens("context tokens", fields[1])
	if err != nil {
		return request{}, err
	}
	generated, err := parseTokens("generated tokens", fields[2])
	if err != nil {
		return request{}, err
	}
	row, err := t.request(context, generated)
	if err != nil {
		return request{}, fmt.Errorf("it cannot be priced: %w; lower the prices", err)
	}
	return row, nil
}

func parseTokens(what, text string) (int64, error) {
	tokens, err := strconv.ParseInt(text, 10, 64)
	if err != nil || tokens < 0 || tokens > maxTokens {
		return 0, fmt.Errorf("%.40q %s: give an integer from 0 to %d", text, what, maxTokens)
	}
	return tokens, nil
}
