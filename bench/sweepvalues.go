package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/wording"
)

// Bounds of a Sweep.
const (
	MaxSweepValues = 64
	MaxSweepRounds = 100
)

var sweepable = []string{report.OverConcurrency, report.OverNodes, report.OverTenants, report.OverHolds}

// DefaultValues are doublings over a range in which something is to be seen.
func DefaultValues(over string) []int {
	switch over {
	case report.OverConcurrency:
		return doublings(1, 512)
	case report.OverNodes:
		return doublings(1, 16)
	case report.OverTenants:
		return doublings(1, 4096)
	default:
		return append([]int{0}, doublings(1024, 65536)...)
	}
}

// doublings go from the first to the last, which is one of them in any case; after 0
// comes 1.
func doublings(first, last int) []int {
	var values []int
	for v := first; v < last; v = max(1, 2*v) {
		values = append(values, v)
	}
	return append(values, last)
}

// valuesOf reads --values, or --from and --to; those that are not set are "".
func valuesOf(over, list, from, to string) ([]int, error) {
	defaults := DefaultValues(over)
	if list == "" && from == "" && to == "" {
		return defaults, nil
	}
	if list != "" && (from != "" || to != "") {
		return nil, errors.New("--values and --from, --to: give the values or the range, not both")
	}
	if list != "" {
		return parseValues(list)
	}
	first, last := defaults[0], defaults[len(defaults)-1]
	for _, end := range []struct {
		flag, text string
		value      *int
	}{{"from", from, &first}, {"to", to, &last}} {
		if end.text == "" {
			continue
		}
		value, err := strconv.Atoi(end.text)
		if err != nil || value < 0 {
			return nil, fmt.Errorf("--%s %q: give a whole number", end.flag, end.text)
		}
		*end.value = value
	}
	if first >= last {
		return nil, fmt.Errorf("--from %d --to %d: give a range that grows", first, last)
	}
	return doublings(first, last), nil
}

func parseValues(list string) ([]int, error) {
	var values []int
	for text := range strings.SplitSeq(list, ",") {
		value, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--values %q: %q is no whole number; give some, as in 1,2,4,8", list, text)
		}
		values = append(values, value)
	}
	return values, nil
}

// validate checks the sweep, and the Config at each of its values, before anything
// is started.
func (s Sweep) validate(c Config) error {
	switch {
	case s.Over == "":
		return fmt.Errorf("--over is missing: give %s", strings.Join(sweepable, ", "))
	case !slices.Contains(sweepable, s.Over):
		return fmt.Errorf("--over %q: give %s", s.Over, strings.Join(sweepable, ", "))
	case s.Rounds < 1 || s.Rounds > MaxSweepRounds:
		return fmt.Errorf("--rounds %d: give 1 to %d", s.Rounds, MaxSweepRounds)
	case len(s.Values) < 2 || len(s.Values) > MaxSweepValues:
		return fmt.Errorf("%s: give 2 to %d", wording.Count(len(s.Values), "value"), MaxSweepValues)
	case len(c.Against) > 0:
		return errors.New("--against: a sweep measures ours alone; leave it out")
	}
	for i := range s.Values[1:] {
		if s.Values[i] >= s.Values[i+1] {
			return fmt.Errorf("--values: %d comes after %d; give values that grow", s.Values[i+1], s.Values[i])
		}
	}
	if err := s.validateWith(c); err != nil {
		return err
	}
	for _, value := range s.Values {
		if err := s.at(c, value).Validate(); err != nil {
			return fmt.Errorf("at %s %d: %w", s.Over, value, err)
		}
	}
	return nil
}

// validateWith finds what would have the sweep measure nothing.
func (s Sweep) validateWith(c Config) error {
	callers := s.Over == report.OverConcurrency || s.Over == report.OverNodes
	switch {
	case s.Over == report.OverNodes && c.Engine == report.EngineLocal:
		return errors.New("--over nodes: the local engine is a single node; give --engine redis")
	case s.Over == report.OverTenants && c.Workload == load.Hot:
		return errors.New("--over tenants: --workload hot is one tenant; give another workload")
	case callers && c.Rate > 0:
		return fmt.Errorf("--over %s finds the rate that callers reach: leave out --rate", s.Over)
	case callers && c.Speed > 0:
		return fmt.Errorf("--over %s finds the rate that callers reach: leave out --speed", s.Over)
	default:
		return nil
	}
}
