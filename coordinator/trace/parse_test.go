package trace_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/trace"
)

const wholeTrace = `{"op":"ensure","tenant":"acme","budget":9223372036854775807}
{"op":"reserve","tenant":"acme","cost":9007199254740993,"as":"r1","want":{"outcome":"reserved","remaining":9214364837600034814}}
{"op":"commit","id":"r1","actual":-9223372036854775808,"want":{"outcome":"invalid_amount"}}
{"want":{"returned":9007199254740993,"remaining":9223372036854775807,"outcome":"released"},"id":"r1","op":"release"}
 { "op" : "remaining", "tenant":"ghost" , "want":{"outcome":"missing_tenant"}} 
`

func wholeOperations() []trace.Operation {
	type amounts = map[string]budget.Microcents
	return []trace.Operation{
		{Line: 1, Kind: trace.Ensure, Tenant: "acme", Amount: budget.MaxMicrocents},
		{Line: 2, Kind: trace.Reserve, Tenant: "acme", Amount: 1<<53 + 1, Name: "r1",
			Want: trace.Answer{Outcome: budget.Reserved, Amounts: amounts{"remaining": budget.MaxMicrocents - 1<<53 - 1}}},
		{Line: 3, Kind: trace.Commit, Amount: -budget.MaxMicrocents - 1, Name: "r1",
			Want: trace.Answer{Outcome: budget.InvalidAmount, Amounts: amounts{}}},
		{Line: 4, Kind: trace.Release, Name: "r1",
			Want: trace.Answer{Outcome: budget.Released, Amounts: amounts{"remaining": budget.MaxMicrocents, "returned": 1<<53 + 1}}},
		{Line: 5, Kind: trace.Remaining, Tenant: "ghost",
			Want: trace.Answer{Outcome: budget.MissingTenant, Amounts: amounts{}}},
	}
}

func TestParseReadsEveryKindExactly(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"LF":               wholeTrace,
		"CRLF":             strings.ReplaceAll(wholeTrace, "\n", "\r\n"),
		"no last line end": strings.TrimSuffix(wholeTrace, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := trace.Parse("whole.jsonl", strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wholeOperations(), got.Operations); diff != "" || got.Name != "whole.jsonl" {
				t.Errorf("%s: -want +got\n%s", got.Name, diff)
			}
		})
	}
}

func TestParseRejectsInvalidTraces(t *testing.T) {
	t.Parallel()
	const good = `{"op":"ensure","tenant":"acme","budget":1}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty file":          {"", "t.jsonl:1: malformed trace: the file is empty"},
		"empty line":          {good + "\n" + good, "t.jsonl:2: malformed trace: the line is empty; remove it"},
		"not JSON":            {good + "hello", "t.jsonl:2: malformed trace: the line is not a JSON object"},
		"an array":            {"[]", "not a JSON object"},
		"null":                {"null", "not a JSON object"},
		"cut short":           {good + good + good[:20], "t.jsonl:3: malformed trace: the line is not a complete JSON object"},
		"comma at the end":    {`{"op":"ensure","tenant":"acme","budget":1,}`, "not a complete JSON object"},
		"unknown op":          {`{"op":"refund","tenant":"acme"}`, `op is "refund"; give "ensure"`},
		"no op":               {`{"tenant":"acme","budget":1}`, "op is missing"},
		"op is a number":      {`{"op":1,"tenant":"acme","budget":1}`, "op is 1"},
		"unknown field":       {`{"op":"ensure","tenant":"acme","budget":1,"ttl":3}`, `unknown field "ttl"; a line of kind ensure has op, tenant, budget`},
		"field of another op": {`{"op":"ensure","tenant":"acme","budget":1,"cost":3}`, `unknown field "cost"`},
		"field in capitals":   {`{"op":"ensure","Tenant":"acme","budget":1}`, `unknown field "Tenant"`},
		"missing field":       {`{"op":"commit","id":"r1","want":{"outcome":"invalid_amount"}}`, `missing field "actual"; a line of kind commit has op, id, actual, want`},
		"missing want":        {`{"op":"release","id":"r1"}`, `missing field "want"`},
		"field twice":         {`{"op":"ensure","tenant":"acme","budget":1,"budget":2}`, `field "budget" appears twice`},
		"two objects":         {strings.TrimSpace(good) + good, "there is text after the object"},
		"garbage behind":      {strings.TrimSpace(good) + " x", "there is text after the object"},
		"a point":             {`{"op":"ensure","tenant":"acme","budget":1.0}`, `field "budget" is 1.0; give whole microcents, without a point or an exponent`},
		"an exponent":         {`{"op":"ensure","tenant":"acme","budget":1e3}`, "without a point or an exponent"},
		"beyond 64 bits":      {`{"op":"ensure","tenant":"acme","budget":9223372036854775808}`, "is 9223372036854775808, beyond 64 bits"},
		"below 64 bits":       {`{"op":"ensure","tenant":"acme","budget":-9223372036854775809}`, "beyond 64 bits"},
		"amount in quotes":    {`{"op":"ensure","tenant":"acme","budget":"1"}`, `field "budget" is "1"; give whole microcents, without quotes`},
		"amount null":         {`{"op":"ensure","tenant":"acme","budget":null}`, `field "budget" is <nil>; give a string or an integer`},
		"amount an object":    {`{"op":"ensure","tenant":"acme","budget":{}}`, `field "budget" is an object`},
		"deep object":         {`{"op":"release","id":"r1","want":{"outcome":{"outcome":{}}}}`, `field "outcome" has an array or a nested object`},
		"a nested array":      {`{"op":"release","id":["r1"]}`, `field "id" has an array or a nested object`},
		"invalid tenant":      {`{"op":"ensure","tenant":"acme//x","budget":1}`, "a level is empty"},
		"tenant a number":     {`{"op":"ensure","tenant":7,"budget":1}`, `field "tenant" is 7; give a non-empty string`},
		"empty name":          {`{"op":"release","id":"","want":{"outcome":"missing_reservation"}}`, `field "id" is ""`},
		"want a text":         {`{"op":"release","id":"r1","want":"released"}`, `field "want" is "released"; give {"outcome":…}`},
		"no outcome":          {`{"op":"release","id":"r1","want":{}}`, `field "want.outcome" is missing`},
		"unknown outcome":     {`{"op":"release","id":"r1","want":{"outcome":"maybe"}}`, `outcome "maybe" is not recorded in traces`},
		"unrecorded outcome":  {`{"op":"release","id":"r1","want":{"outcome":"unknown"}}`, `outcome "unknown" is not recorded in traces`},
		"want lacks amount":   {`{"op":"release","id":"r1","want":{"outcome":"released","remaining":1}}`, `missing field "returned" in want; the outcome released carries [remaining returned]`},
		"want has unknown":    {`{"op":"release","id":"r1","want":{"outcome":"released","remaining":1,"returned":1,"prior":2}}`, `unknown field "prior" in want`},
		"want twice":          {`{"op":"release","id":"r1","want":{"outcome":"released","remaining":1,"remaining":1,"returned":1}}`, `field "remaining" appears twice`},
		"want a float":        {`{"op":"release","id":"r1","want":{"outcome":"released","remaining":1.5,"returned":1}}`, `field "want.remaining" is 1.5`},
		"not UTF-8":           {"{\"op\":\"ensure\",\"tenant\":\"ac\xffme\",\"budget\":1}", "not UTF-8"},
		"long line":           {good + strings.Repeat(" ", trace.MaxLineBytes) + good, "t.jsonl:2: malformed trace: the line is longer than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := trace.Parse("t.jsonl", strings.NewReader(c.text))
			if !errors.Is(err, trace.ErrMalformed) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "t.jsonl:") {
				t.Errorf("got error %v, want one that contains %q", err, c.want)
			}
			if got.Operations != nil {
				t.Errorf("got %d operations along with the error", len(got.Operations))
			}
		})
	}
}

func TestParseNamesTheLineOfAReadError(t *testing.T) {
	t.Parallel()
	disk := errors.New("disk on fire")
	_, err := trace.Parse("t.jsonl", iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(wholeTrace))))
	if !errors.Is(err, iotest.ErrTimeout) || errors.Is(err, trace.ErrMalformed) {
		t.Errorf("got %v, want the reader's own error", err)
	}
	_, err = trace.Parse("t.jsonl", iotest.ErrReader(disk))
	if !errors.Is(err, disk) || !strings.HasPrefix(err.Error(), "t.jsonl:1: reading: ") {
		t.Errorf("got %v, want the reader's own error with file and line", err)
	}
}
