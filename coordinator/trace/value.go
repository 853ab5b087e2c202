package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
)

// object is a parsed JSON object: every value is a string, a json.Number or an object.
// Unmarshalling into structs would accept two things that a trace must not have: keys in a
// different case, and duplicate keys.
type object map[string]any

func parseObject(line []byte) (object, error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	first, err := decoder.Token()
	if err != nil || first != json.Delim('{') {
		return nil, errors.New("the line is not a JSON object; write one {…} per line")
	}
	fields, err := readFields(decoder, 1)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is text after the object; write one operation per line")
	}
	return fields, nil
}

// maxDepth is the maximum nesting of objects: the line, and the result in it.
const maxDepth = 2

func readFields(decoder *json.Decoder, depth int) (object, error) {
	fields := make(object)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("a key is %v; use a string", token)
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("field %q appears twice; give it once", key)
		}
		value, err := decoder.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		switch value := value.(type) {
		case string, json.Number:
			fields[key] = value
		case json.Delim:
			if value != '{' || depth == maxDepth {
				return nil, fmt.Errorf("field %q has an array or a nested object, which no field of a trace has; see the format", key)
			}
			if fields[key], err = readFields(decoder, depth+1); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("field %q is %v; give a string or an integer", key, value)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, notJSON(err)
	}
	return fields, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the line is not a complete JSON object (%w); write one {…} per line", err)
}

func asText(field string, value any) (string, error) {
	text, ok := value.(string)
	if !ok || text == "" {
		return "", fmt.Errorf("field %q is %s; give a non-empty string", field, show(value))
	}
	return text, nil
}

// asAmount parses the digits as an integer: a float64 would silently round amounts above
// 2^53.
func asAmount(field string, value any) (budget.Microcents, error) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, fmt.Errorf("field %q is %s; give whole microcents, without quotes", field, show(value))
	}
	amount, err := strconv.ParseInt(number.String(), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("field %q is %s, beyond 64 bits; give whole microcents from -2^63 to 2^63-1", field, show(value))
	}
	if err != nil {
		return 0, fmt.Errorf("field %q is %s; give whole microcents, without a point or an exponent", field, show(value))
	}
	return budget.Microcents(amount), nil
}

func asAnswer(value any) (Answer, error) {
	fields, ok := value.(object)
	if !ok {
		return Answer{}, fmt.Errorf(`field "want" is %s; give {"outcome":…} with its amounts`, show(value))
	}
	name, err := asText("want.outcome", fields["outcome"])
	if err != nil {
		return Answer{}, err
	}
	var answer Answer
	err = answer.Outcome.UnmarshalText([]byte(name))
	needed, recordable := carried[answer.Outcome]
	if err != nil || !recordable {
		return Answer{}, fmt.Errorf("outcome %q is not recorded in traces; see the format", name)
	}
	answer.Amounts = make(map[string]budget.Microcents, len(fields)-1)
	for _, amount := range amountNames {
		if value, present := fields[amount]; present {
			if answer.Amounts[amount], err = asAmount("want."+amount, value); err != nil {
				return Answer{}, err
			}
		}
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if _, known := answer.Amounts[field]; !known && field != "outcome" {
			return Answer{}, fmt.Errorf("unknown field %q in want; it has outcome, %v", field, amountNames)
		}
	}
	for _, amount := range needed {
		if _, present := answer.Amounts[amount]; !present {
			return Answer{}, fmt.Errorf("missing field %q in want; the outcome %s carries %v", amount, name, needed)
		}
	}
	return answer, nil
}

func show(value any) string {
	switch value := value.(type) {
	case nil:
		return "missing"
	case string:
		return fmt.Sprintf("%.64q", value)
	case json.Number:
		return fmt.Sprintf("%.64s", value.String())
	default:
		return "an object"
	}
}
