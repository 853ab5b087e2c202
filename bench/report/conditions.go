package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Condition is a condition of --fail-if with the measured value. In a sweep the values of
// all points are checked, and the worst is kept.
type Condition struct {
	Text     string  `json:"condition"` // as given, for example p99>10ms
	Metric   string  `json:"metric"`
	Limit    float64 `json:"limit"`    // µs, decisions per second, share of refusals, or microcents
	Measured float64 `json:"measured"` // in the same unit
	Broken   bool    `json:"broken"`   // whether the run fails by it
	At       string  `json:"at,omitempty"`

	above bool
}

// conditionMetric is a metric that a condition can name.
type conditionMetric struct {
	name    string
	example string
	parse   func(string) (float64, error)
	text    func(float64) string
	of      func(*Report) float64
	at      func(SweepPoint) float64 // nil if only a whole sweep has the metric
}

var conditionMetrics = append(latencyMetrics(),
	conditionMetric{
		name: "rate", example: "a number of decisions per second, as in rate<1000",
		parse: parseRate, text: func(v float64) string { return perSecondText(v) + "/s" },
		of: func(r *Report) float64 { return r.DecisionsPerSecond },
		at: func(p SweepPoint) float64 { return p.DecisionsPerSecond.Median },
	},
	conditionMetric{
		name: "refusals", example: "a share of the reserves, as in refusals>5%",
		parse: parseShare, text: func(v float64) string { return significant(100*v) + "%" }, of: (*Report).refusals,
	},
	conditionMetric{
		name: "overspent", example: "an amount, as in overspent>$0",
		parse: parseOverspent, text: func(v float64) string { return budget.Microcents(v).String() }, of: (*Report).totalOverspent,
	},
)

// latencyFigures end with the mean.
var latencyFigures = slices.Concat(metrics.Figures[1:], metrics.Figures[:1])

func latencyMetrics() (all []conditionMetric) {
	for _, f := range latencyFigures {
		all = append(all, conditionMetric{
			name: f.Name, example: "a duration, as in " + f.Name + ">10ms", parse: parseLatency, text: Micros,
			of: func(r *Report) float64 {
				if len(r.Candidates) == 0 {
					return 0
				}
				return f.Of(r.Candidates[0].Decision)
			},
			at: func(p SweepPoint) float64 { return f.Of(p.Decision) },
		})
	}
	return all
}

func metricOf(name string) (conditionMetric, bool) {
	i := slices.IndexFunc(conditionMetrics, func(m conditionMetric) bool { return m.name == name })
	if i < 0 {
		return conditionMetric{}, false
	}
	return conditionMetrics[i], true
}

// ParseCondition reads a condition such as p99>10ms.
func ParseCondition(text string) (Condition, error) {
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return Condition{}, conditionError(text, "no operator")
	}
	name, value := strings.TrimSpace(text[:at]), strings.TrimSpace(text[at+1:])
	m, known := metricOf(name)
	if !known {
		return Condition{}, conditionError(text, fmt.Sprintf("unknown metric %q", name))
	}
	limit, err := m.parse(value)
	if err != nil {
		return Condition{}, conditionError(text, fmt.Sprintf("%s takes %s", name, m.example))
	}
	return Condition{Text: text, Metric: name, Limit: limit, above: text[at] == '>'}, nil
}

func conditionError(text, problem string) error {
	var names []string
	for _, m := range conditionMetrics {
		names = append(names, m.name)
	}
	return fmt.Errorf("--fail-if %q: %s: write METRIC>VALUE or METRIC<VALUE; the metrics are %s", text, problem, strings.Join(names, ", "))
}

var errNegative = errors.New("below 0")

func notNegative(value float64, err error) (float64, error) {
	if err == nil && !(value >= 0) {
		err = errNegative
	}
	return value, err
}

func parseLatency(text string) (float64, error) {
	d, err := time.ParseDuration(text)
	return notNegative(float64(d)/float64(time.Microsecond), err)
}

func parseRate(text string) (float64, error) {
	return notNegative(strconv.ParseFloat(strings.TrimSuffix(text, "/s"), 64))
}

func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	value, err := notNegative(strconv.ParseFloat(number, 64))
	if percent {
		value /= 100
	}
	return value, err
}

func parseOverspent(text string) (float64, error) {
	if text == "0" {
		return 0, nil
	}
	amount, err := budget.ParseMicrocents(text)
	return notNegative(float64(amount), err)
}

// Check compares the conditions with the report, which keeps them, and returns an error
// that names those that make the run fail.
func (r *Report) Check(conditions []Condition) error {
	r.Conditions = nil
	var broken []string
	for _, c := range conditions {
		c.check(r)
		r.Conditions = append(r.Conditions, c)
		if c.Broken {
			broken = append(broken, c.String())
		}
	}
	if len(broken) == 0 {
		return nil
	}
	return exit.With(exit.Refused, fmt.Errorf("--fail-if: %s", strings.Join(broken, "; ")))
}

func (c *Condition) check(r *Report) {
	m, _ := metricOf(c.Metric)
	if r.Sweep == nil || m.at == nil {
		c.Measured = m.of(r)
	} else {
		for i, p := range r.Sweep.Points {
			value := m.at(p)
			if i == 0 || c.above && value > c.Measured || !c.above && value < c.Measured {
				c.Measured, c.At = value, "with "+r.Sweep.count(p.Value)
			}
		}
	}
	c.Broken = c.above && c.Measured > c.Limit || !c.above && c.Measured < c.Limit
}

// totalOverspent includes the contention test.
func (r *Report) totalOverspent() float64 {
	total := r.Overspent
	if len(r.Candidates) > 0 {
		total = max(total, r.Candidates[0].Money.Overspent)
	}
	return float64(total)
}

// refusals is the share of reserves that were refused.
func (r *Report) refusals() float64 {
	refused, reserved := r.Outcomes[budget.Insufficient.String()], r.Outcomes[budget.Reserved.String()]
	if refused+reserved == 0 {
		return 0
	}
	return float64(refused) / float64(refused+reserved)
}

// String names the condition and the measured value.
func (c Condition) String() string {
	m, _ := metricOf(c.Metric)
	text := c.Text + ": " + c.Metric + " is " + m.text(c.Measured)
	if c.At != "" {
		text += " " + c.At
	}
	return text
}
