package trace_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/trace"
)

// FuzzParse checks that text is either rejected with file and line, or that its operations
// can be written out and parsed to the same operations.
func FuzzParse(f *testing.F) {
	f.Add(wholeTrace)
	f.Add(strings.ReplaceAll(wholeTrace, "\n", "\r\n"))
	for _, line := range strings.SplitAfter(wholeTrace, "\n") {
		f.Add(line)
		f.Add(line[:len(line)/2])
	}
	f.Add(`{"op":"ensure","tenant":"a\u002fb","budget":-0}`)
	f.Add(`{"op":"release","id":"r1","want":{"outcome":"found","remaining":1,"required":2}}`)
	f.Fuzz(func(t *testing.T, text string) {
		first, err := trace.Parse("t", strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, trace.ErrMalformed) || !strings.HasPrefix(err.Error(), "t:") {
				t.Errorf("got %v, want file, line and ErrMalformed", err)
			}
			return
		}
		var lines strings.Builder
		for _, op := range first.Operations {
			lines.WriteString(write(t, op) + "\n")
		}
		second, err := trace.Parse("t", strings.NewReader(lines.String()))
		if diff := cmp.Diff(first, second); err != nil || diff != "" {
			t.Errorf("%v: written down as\n%s-first +second\n%s", err, lines.String(), diff)
		}
	})
}

func write(t *testing.T, op trace.Operation) string {
	quote := func(text string) string {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(quoted)
	}
	want := `"want":{"outcome":` + quote(op.Want.Outcome.String())
	for _, name := range slices.Sorted(maps.Keys(op.Want.Amounts)) {
		want += fmt.Sprintf(",%q:%d", name, op.Want.Amounts[name])
	}
	want += "}"
	switch op.Kind {
	case trace.Ensure:
		return fmt.Sprintf(`{"op":"ensure","tenant":%s,"budget":%d}`, quote(string(op.Tenant)), op.Amount)
	case trace.Reserve:
		return fmt.Sprintf(`{"op":"reserve","tenant":%s,"cost":%d,"as":%s,%s}`, quote(string(op.Tenant)), op.Amount, quote(op.Name), want)
	case trace.Commit:
		return fmt.Sprintf(`{"op":"commit","id":%s,"actual":%d,%s}`, quote(op.Name), op.Amount, want)
	case trace.Release:
		return fmt.Sprintf(`{"op":"release","id":%s,%s}`, quote(op.Name), want)
	case trace.Remaining:
		return fmt.Sprintf(`{"op":"remaining","tenant":%s,%s}`, quote(string(op.Tenant)), want)
	default:
		t.Fatalf("line %d: kind %q", op.Line, op.Kind)
		return ""
	}
}
