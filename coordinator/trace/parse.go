package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/calybris/bursar/coordinator/budget"
)

// MaxLineBytes is the maximum length of a line. The longest sensible line, with a tenant ID
// of 256 escaped bytes and a long name, takes a tenth of it.
const MaxLineBytes = 64 << 10

// ErrMalformed is returned for text that isn't a trace. The text of the error begins with
// file:line and ends with the remedy.
var ErrMalformed = errors.New("malformed trace")

// Parse parses a whole trace. The name is that of the file, for messages. Errors other than
// ErrMalformed come from r.
func Parse(name string, r io.Reader) (Trace, error) {
	t := Trace{Name: name}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), MaxLineBytes)
	line := 0
	// If the reader fails, the Scanner returns the incomplete last line, which isn't parsed.
	for lines.Scan() && lines.Err() == nil {
		line++
		op, err := parseLine(lines.Bytes())
		if err != nil {
			return Trace{}, fmt.Errorf("%s:%d: %w: %w", name, line, ErrMalformed, err)
		}
		op.Line = line
		t.Operations = append(t.Operations, op)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return Trace{}, fmt.Errorf("%s:%d: %w: the line is longer than %d bytes; write one operation per line", name, line+1, ErrMalformed, MaxLineBytes)
	case err != nil:
		return Trace{}, fmt.Errorf("%s:%d: reading: %w", name, line+1, err)
	case line == 0:
		return Trace{}, fmt.Errorf("%s:1: %w: the file is empty; record at least one operation", name, ErrMalformed)
	}
	return t, nil
}

// layouts maps each kind of line to its fields other than "op".
var layouts = map[Kind][]string{
	Ensure:    {"tenant", "budget"},
	Reserve:   {"tenant", "cost", "as", "want"},
	Commit:    {"id", "actual", "want"},
	Release:   {"id", "want"},
	Remaining: {"tenant", "want"},
}

func parseLine(line []byte) (Operation, error) {
	if len(line) == 0 {
		return Operation{}, errors.New("the line is empty; remove it")
	}
	if !utf8.Valid(line) {
		return Operation{}, errors.New("the line is not UTF-8; save the file as UTF-8")
	}
	fields, err := parseObject(line)
	if err != nil {
		return Operation{}, err
	}
	text, isText := fields["op"].(string)
	layout, known := layouts[Kind(text)]
	if !isText || !known {
		return Operation{}, fmt.Errorf(`op is %s; give "ensure", "reserve", "commit", "release" or "remaining"`, show(fields["op"]))
	}
	if err := checkFields(text, fields, layout); err != nil {
		return Operation{}, err
	}
	return buildOperation(Kind(text), fields)
}

func checkFields(kind string, fields object, layout []string) error {
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if field != "op" && !slices.Contains(layout, field) {
			return fmt.Errorf("unknown field %q; a line of kind %s has op, %s", field, kind, strings.Join(layout, ", "))
		}
	}
	for _, field := range layout {
		if _, present := fields[field]; !present {
			return fmt.Errorf("missing field %q; a line of kind %s has op, %s", field, kind, strings.Join(layout, ", "))
		}
	}
	return nil
}

func buildOperation(kind Kind, fields object) (Operation, error) {
	op := Operation{Kind: kind}
	for _, field := range layouts[kind] {
		value := fields[field]
		var err error
		switch field {
		case "tenant":
			var text string
			if text, err = asText(field, value); err == nil {
				op.Tenant = budget.TenantID(text)
				err = op.Tenant.Validate()
			}
		case "as", "id":
			op.Name, err = asText(field, value)
		case "budget", "cost", "actual":
			op.Amount, err = asAmount(field, value)
		case "want":
			op.Want, err = asAnswer(value)
		}
		if err != nil {
			return Operation{}, err
		}
	}
	return op, nil
}
