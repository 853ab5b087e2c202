package main

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/calybris/bursar/coordinator/wording"
)

// A figure is one thing that was measured, with the rule that it is compared by.
type figure struct {
	name  string
	value float64
	rule  *rule
}

// A rule says how far a figure may be from the baseline.
type rule struct {
	decimals int
	holds    func(now, accepted float64) bool
	// compiler names what compiled that which is measured; a figure of another one is
	// not compared. nil where that does not matter.
	compiler func(build) string
}

var (
	exact        = &rule{decimals: 4, holds: func(now, accepted float64) bool { return now == accepted }}
	allocations  = &rule{decimals: 2, holds: func(now, accepted float64) bool { return math.Abs(now-accepted) <= 0.1 }, compiler: build.ofGo}
	allocated    = &rule{decimals: 0, holds: within(0.02), compiler: build.ofGo}
	redisInstr   = &rule{decimals: 0, holds: within(0.02), compiler: build.ofRedis}
	localInstr   = &rule{decimals: 1, holds: within(0.01), compiler: build.ofGo}
	ratioOfRates = &rule{decimals: 2, holds: func(now, accepted float64) bool { return now >= accepted/2 }}
)

func within(part float64) func(now, accepted float64) bool {
	return func(now, accepted float64) bool { return math.Abs(now-accepted) <= part*accepted }
}

// newFigure rounds to what is meant by the value, so that the baseline can be read.
func newFigure(name string, value float64, r *rule) figure {
	scale := math.Pow10(r.decimals)
	return figure{name: name, value: math.Round(value*scale) / scale, rule: r}
}

// A verdict is a row of the table.
type verdict struct {
	name, accepted, now, text string
	failed                    bool
}

// compare judges each figure, and those of the baseline that are no longer measured.
func compare(accepted baseline, now build, figures []figure) []verdict {
	var verdicts []verdict
	measured := make(map[string]bool)
	for _, f := range figures {
		measured[f.name] = true
		verdicts = append(verdicts, judge(f, accepted, now))
	}
	for _, name := range accepted.names() {
		if !measured[name] {
			verdicts = append(verdicts, verdict{name: name, accepted: number(accepted.Figures[name]), now: "-", text: "GONE", failed: true})
		}
	}
	return verdicts
}

func judge(f figure, accepted baseline, now build) verdict {
	v := verdict{name: f.name, accepted: "-", now: number(f.value), text: "ok"}
	was, known := accepted.Figures[f.name]
	if !known {
		v.text, v.failed = "NEW", true
		return v
	}
	v.accepted = number(was)
	switch {
	case f.rule.compiler != nil && f.rule.compiler(now) != f.rule.compiler(accepted.Build):
		v.text = "not compared: " + f.rule.compiler(now)
	case !f.rule.holds(f.value, was):
		v.text, v.failed = "CHANGED", true
		if was != 0 {
			v.text += fmt.Sprintf(" by %+.1f %%", 100*(f.value-was)/was)
		}
	}
	return v
}

func number(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// report prints the table, and returns an error that names what failed.
func report(out io.Writer, accepted baseline, now build, verdicts []verdict) error {
	const row = "%-56s %12s %12s  %s\n"
	fmt.Fprintf(out, row, "figure (a decision)", "baseline", "now", "verdict")
	failed := ""
	count := 0
	for _, v := range verdicts {
		fmt.Fprintf(out, row, v.name, v.accepted, v.now, v.text)
		if v.failed {
			count++
			failed += fmt.Sprintf("\n  %s: %s, was %s: %s", v.name, v.now, v.accepted, v.text)
		}
	}
	if now != accepted.Build {
		fmt.Fprintf(out, "The baseline is of %s, this is %s.\n", accepted.Build, now)
	}
	if count > 0 {
		return fmt.Errorf("%d of %s differ from the baseline:%s\nIf that is wanted, run make bench-baseline, and explain it in the commit", count, wording.Count(len(verdicts), "figure"), failed)
	}
	fmt.Fprintf(out, "%s as in the baseline.\n", wording.Count(len(verdicts), "figure"))
	return nil
}
