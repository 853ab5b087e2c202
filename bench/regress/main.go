// Command regress is the regression guard: it measures what Bursar costs in ways that
// do not depend on the machine's mood, and compares that with bench/baseline.json.
// `make bench-check` runs it, and so does CI; `make bench-baseline` accepts what it
// measures, and the commit that does so says why.
//
// It is a command and no test with a tag, because it has two uses (compare, write)
// and a table to show, and because callgrind needs a binary to run: itself.
//
// # What is compared
//
// Loads are played on a node with a private redis-server. They are the same, call by
// call, in every run: where callers are to share a script call, a first call is held
// on the wire until the others wait behind it (fixture.go). For each load:
//
//   - exactly: how often Redis runs each command for a decision, those inside the
//     scripts included (evalsha is the script calls), and the bytes sent and received.
//     Every number and every id on the wire has the same length each time;
//   - allocations a decision in the client, to 0.1: the scheduler makes one in a
//     hundred differ; allocated bytes to 2 %;
//   - instructions of redis-server a decision, under callgrind, to 2 %: the levels of
//     its sorted sets and the seeds of its hashes are random. Ten runs differed by 1.5 %
//     in a reserve, and by 0.6 % at the most in all else.
//
// The local engine's cycles are counted under callgrind to 1 %; thirty runs differed
// by 0.15 %, most by nothing. Go's and Redis' instructions, and Go's allocations,
// depend on who compiled them: with another minor version than the baseline's they are
// shown, and not compared.
//
// Ratios of two speeds, measured in turns in one run (metrics.Compare), fail at less than
// half of the baseline, and only there: beside other work on two cores one caller's over
// a bare EVALSHA was 0.40 and alone 0.90, from minute to minute.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/version"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/coordinator/wording"
)

const (
	defaultBaseline = "bench/baseline.json"
	localArgument   = "local-cycles" // what callgrind runs this command with
)

func main() {
	if slices.Equal(os.Args[1:], []string{localArgument}) {
		end(playLocal(context.Background()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	end(err)
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "regress:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("regress", flag.ContinueOnError)
	path := flags.String("baseline", defaultBaseline, "the `FILE` with the figures to compare with")
	write := flags.Bool("write", false, "write the figures to the baseline instead of comparing them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q; see -help", flags.Arg(0))
	case *write:
		return writeBaseline(ctx, *path)
	}
	// What cannot be compared need not be measured.
	accepted, err := readBaseline(*path)
	if err != nil {
		return err
	}
	now, err := currentBuild(ctx)
	if err != nil {
		return err
	}
	var figures []figure
	for _, part := range parts {
		more, err := measureUntil(ctx, part, func(f figure) bool { return judge(f, accepted, now).failed })
		if err != nil {
			return err
		}
		figures = append(figures, more...)
	}
	return report(out, accepted, now, compare(accepted, now, figures))
}

// A part of what is measured, each with a Redis of its own where it has one.
type part func(ctx context.Context) ([]figure, error)

var parts = []part{countOnRedis, instructionsOfRedis, instructionsOfLocal, ratios}

// attempts: what fails is measured again, all of its part, and the last time counts. A
// baseline is of as many, with the least of the ratios and the median of all else. So
// neither a moment in which the machine stalls nor one in which it has nothing else to
// do decides anything.
const attempts = 3

func measureUntil(ctx context.Context, measure part, failed func(figure) bool) (figures []figure, err error) {
	for range attempts {
		if figures, err = measure(ctx); err != nil || !slices.ContainsFunc(figures, failed) {
			return figures, err
		}
	}
	return figures, nil
}

func writeBaseline(ctx context.Context, path string) error {
	now, err := currentBuild(ctx)
	if err != nil {
		return err
	}
	values := make(map[string][]float64)
	rules := make(map[string]*rule)
	for range attempts {
		for _, measure := range parts {
			figures, err := measure(ctx)
			if err != nil {
				return err
			}
			for _, f := range figures {
				values[f.name], rules[f.name] = append(values[f.name], f.value), f.rule
			}
		}
	}
	figures := make(map[string]float64)
	for name, v := range values {
		slices.Sort(v)
		switch least, most := v[0], v[len(v)-1]; {
		case rules[name] == exact && (least != most || len(v) != attempts):
			return fmt.Errorf("%s was %v in %d runs: what is exact must be the same in each", name, v, attempts)
		case rules[name] == ratioOfRates:
			figures[name] = least
		default:
			figures[name] = v[len(v)/2]
		}
	}
	return baseline{Build: now, Figures: figures}.write(path)
}

// build is what the figures depend on beside the project.
type build struct {
	Go    string `json:"go"`    // "go1.26"
	Redis string `json:"redis"` // "7.0", or "Valkey 8.0"
	Arch  string `json:"arch"`  // GOARCH
}

func (b build) ofGo() string    { return b.Go + " on " + b.Arch }
func (b build) ofRedis() string { return b.redis() + " on " + b.Arch }
func (b build) String() string  { return fmt.Sprintf("%s and %s on %s", b.Go, b.redis(), b.Arch) }

func (b build) redis() string {
	if strings.Contains(b.Redis, " ") {
		return b.Redis
	}
	return "Redis " + b.Redis
}

var redisVersion = regexp.MustCompile(`^(\w+) server v=(\d+\.\d+)\.`)

func currentBuild(ctx context.Context) (build, error) {
	binary, err := redistest.Binary(ctx)
	if err != nil {
		return build{}, err
	}
	said, err := exec.CommandContext(ctx, binary, "--version").Output() //nolint:gosec // it is the server that is started
	found := redisVersion.FindSubmatch(said)
	if err != nil || found == nil {
		return build{}, fmt.Errorf("%s --version says %.100q: %w", binary, said, err)
	}
	redis := strings.TrimPrefix(string(found[1])+" "+string(found[2]), "Redis ")
	return build{Go: version.Lang(runtime.Version()), Redis: redis, Arch: runtime.GOARCH}, nil
}

// baseline is the content of bench/baseline.json: the figures that were accepted.
type baseline struct {
	Build   build              `json:"measured_with"`
	Figures map[string]float64 `json:"figures"`
}

func (b baseline) names() []string { return slices.Sorted(maps.Keys(b.Figures)) }

const baselineRemedy = "restore it from git, or run make bench-baseline, and explain it in the commit"

func readBaseline(path string) (baseline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return baseline{}, fmt.Errorf("no baseline to compare with: %w; %s", err, baselineRemedy)
	}
	var b baseline
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&b)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows its end")
		} else if b.Build.Go == "" || b.Build.Redis == "" || b.Build.Arch == "" || len(b.Figures) == 0 {
			err = errors.New("measured_with (go, redis, arch) or figures is missing")
		}
	}
	if err != nil {
		return baseline{}, fmt.Errorf("%s is no baseline: %w; %s", path, err, baselineRemedy)
	}
	return b, nil
}

func (b baseline) write(path string) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // everybody may read it
}

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
