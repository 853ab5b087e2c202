package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/calybris/bursar/bench/metrics"
)

// Comparison compares a report with an earlier one.
type Comparison struct {
	To       string    `json:"to"` // file of the earlier report
	Began    time.Time `json:"began,omitzero"`
	Settings []string  `json:"different_settings,omitempty"`
	Changes  []Change  `json:"changes"`
}

// Change is the difference of one metric.
type Change struct {
	Metric  string         `json:"metric"`
	Unit    string         `json:"unit"` // per second, or us
	Earlier metrics.Spread `json:"earlier"`
	Now     metrics.Spread `json:"now"`
	// Percent is the change of the median; the lowest and the highest are those of any
	// two rounds.
	Percent metrics.Spread `json:"percent"`
	// Beyond reports whether the rounds of both do not overlap. It is false if either has
	// fewer than two rounds.
	Beyond bool `json:"beyond_spread"`
	Rounds int  `json:"rounds"` // the fewer of both
}

// ReadEarlier reads a report that --json wrote.
func ReadEarlier(path string) (Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Report{}, fmt.Errorf("--compare-to: %w", err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return Report{}, fmt.Errorf("--compare-to %s: not a report of bench --json: %w", path, err)
	}
	if r.Sweep == nil && len(r.Candidates) == 0 || r.Rounds == 0 {
		return Report{}, fmt.Errorf("--compare-to %s: not a report of bench --json: it has no measurement", path)
	}
	return r, nil
}

// CompareTo adds the comparison with an earlier report, read from a file.
func (r *Report) CompareTo(earlier Report, path string) {
	c := &Comparison{To: path, Began: earlier.Began, Settings: r.settingsUnlike(earlier)}
	add := func(metric, unit string, was, now []float64) {
		if len(was) > 0 && len(now) > 0 {
			c.Changes = append(c.Changes, changeOf(metric, unit, was, now))
		}
	}
	if r.Sweep != nil && earlier.Sweep != nil {
		for _, p := range r.Sweep.Points {
			for _, q := range earlier.Sweep.Points {
				if p.Value == q.Value {
					add("rate with "+r.Sweep.count(p.Value), "per second", q.Rates, p.Rates)
				}
			}
		}
	} else if len(r.Candidates) > 0 && len(earlier.Candidates) > 0 {
		was, now := earlier.Candidates[0], r.Candidates[0]
		add("decisions", "per second", was.Rates, now.Rates)
		for _, f := range latencyFigures {
			add(f.Name, "us", metrics.Each(was.roundLatencies(), f.Of), metrics.Each(now.roundLatencies(), f.Of))
		}
		if was.RedisCPU > 0 && now.RedisCPU > 0 {
			add("Redis CPU per decision", "us", []float64{was.RedisCPU}, []float64{now.RedisCPU})
		}
	}
	r.Comparison = c
}

func (c Candidate) roundLatencies() []metrics.Latency {
	if len(c.DecisionRounds) > 0 {
		return c.DecisionRounds
	}
	return []metrics.Latency{c.Decision}
}

func changeOf(metric, unit string, was, now []float64) Change {
	c := Change{Metric: metric, Unit: unit, Earlier: metrics.SpreadOf(was), Now: metrics.SpreadOf(now), Rounds: min(len(was), len(now))}
	percent := func(from, to float64) float64 {
		if from == 0 {
			return 0
		}
		return 100 * (to/from - 1)
	}
	c.Percent = metrics.Spread{
		Median: percent(c.Earlier.Median, c.Now.Median),
		Lowest: percent(c.Earlier.Most, c.Now.Lowest), Most: percent(c.Earlier.Lowest, c.Now.Most),
	}
	c.Beyond = c.Rounds > 1 && (c.Now.Lowest > c.Earlier.Most || c.Now.Most < c.Earlier.Lowest)
	return c
}

// settingsUnlike lists the settings in which two runs differ.
func (r Report) settingsUnlike(earlier Report) (unlike []string) {
	for _, s := range []struct {
		name     string
		was, now any
	}{
		{"engine", earlier.Engine, r.Engine}, {"server", earlier.serverText(), r.serverText()}, {"nodes", earlier.Nodes, r.Nodes},
		{"workers per node", earlier.Concurrency, r.Concurrency}, {"tenants", earlier.Tenants, r.Tenants}, {"partitions", earlier.Partitions, r.Partitions},
		{"processes", earlier.Processes, r.Processes}, {"workload", earlier.Workload.Name, r.Workload.Name}, {"loop", earlier.Workload.Arrivals, r.Workload.Arrivals},
		{"hold time, ms", earlier.Workload.HoldMillis, r.Workload.HoldMillis}, {"CPU", earlier.Machine.CPU, r.Machine.CPU},
		{"cores", earlier.Machine.Cores, r.Machine.Cores}, {"Go", earlier.Machine.Go, r.Machine.Go}, {"bursar", earlier.Machine.Version, r.Machine.Version},
	} {
		if s.was != s.now {
			if s.was == "" {
				s.was = "not recorded"
			}
			unlike = append(unlike, fmt.Sprintf("%s: %v, was %v", s.name, s.now, s.was))
		}
	}
	return unlike
}

func (r Report) serverText() string {
	if r.Server == nil {
		return "none"
	}
	return r.Server.name() + " " + r.Server.Version + " " + r.Server.Mode
}

// value writes a value of the change with its unit.
func (c Change) value(v float64) string {
	if c.Unit == "us" {
		return Micros(v)
	}
	return perSecondText(v) + "/s"
}

// spread writes a median with its range.
func (c Change) spread(s metrics.Spread) string {
	if s.Lowest == s.Most {
		return c.value(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", c.value(s.Median), c.value(s.Lowest), c.value(s.Most))
}

// verdict says what the spread of the rounds allows to conclude.
func (c Change) verdict() string {
	switch {
	case c.Rounds < 2:
		return "needs 2 rounds"
	case !c.Beyond:
		return "within the spread"
	case c.Percent.Median > 0:
		return "higher"
	default:
		return "lower"
	}
}

func signedPercent(v float64) string {
	if math.Abs(v) < 0.05 {
		return "0%"
	}
	text := significant(math.Abs(v)) + "%"
	if v < 0 {
		return "-" + text
	}
	return "+" + text
}

// percentText writes the change with its range.
func (c Change) percentText() string {
	if c.Rounds < 2 {
		return signedPercent(c.Percent.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", signedPercent(c.Percent.Median), signedPercent(c.Percent.Lowest), signedPercent(c.Percent.Most))
}

// title names the earlier report.
func (c Comparison) title() string {
	if c.Began.IsZero() {
		return "compared with " + c.To
	}
	return "compared with " + c.To + " of " + c.Began.Format(time.DateTime)
}
