// Command regress is the regression guard. It measures what a decision costs in ways that
// do not depend on how busy the machine is, and compares that with bench/baseline.json.
// `make bench-check` runs it, as CI does; `make bench-baseline` accepts new figures, and the
// commit explains them.
//
// It is a command rather than a test because it compares and writes, shows a table, and runs
// itself under callgrind.
//
// # Figures
//
// The loads run on a node with a private redis-server and are the same, call by call, in
// every run: when callers have to share a script call, the first call is held back on the
// connection until the others are queued (fixture.go). For each load:
//
//   - exactly: how often Redis runs each command per decision, including those inside
//     scripts (evalsha counts the script calls), and the bytes sent and received. All
//     numbers and ids have the same length in each run;
//   - allocations per decision in the client, to 0.1: the scheduler changes one in a hundred;
//     allocated bytes to 2 %;
//   - instructions of redis-server per decision, under callgrind, to 2 %: the levels of its
//     sorted sets and the seeds of its hashes are random. Ten runs differed by 1.5 % in a
//     reserve, and by at most 0.6 % otherwise.
//
// The local engine's cycles are counted under callgrind to 1 %; thirty runs differed by at
// most 0.15 %. Instructions, and Go's allocations, depend on the compiler: with another
// minor version than the baseline's they are shown and not compared.
//
// Ratios of two speeds, measured in interleaved rounds (metrics.Compare), fail only below
// half of the baseline: with other work on two cores, one caller's ratio to a bare EVALSHA
// was 0.40, alone 0.90.
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
	localArgument   = "local-cycles" // runs the loads of the local engine, for callgrind
)

func main() {
	if slices.Equal(os.Args[1:], []string{localArgument}) {
		end(runLocal(context.Background()))
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
	path := flags.String("baseline", defaultBaseline, "compare with the figures in `FILE`")
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
	accepted, err := readBaseline(*path)
	if err != nil {
		return err
	}
	now, err := currentBuild(ctx)
	if err != nil {
		return err
	}
	var all []metric
	for _, part := range parts {
		more, err := measureUntil(ctx, part, func(m metric) bool { return compareOne(m, accepted, now).failed })
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	return report(out, accepted, now, compare(accepted, now, all))
}

// part measures some of the figures, with a Redis of its own if it needs one.
type part func(ctx context.Context) ([]metric, error)

var parts = []part{countOnRedis, instructionsOfRedis, instructionsOfLocal, ratiosOnRedis, ratioOfLocal}

// attempts is the number of times that a failing part is measured; the last one counts. A
// baseline is taken from as many, with the lowest ratios and the medians of all other
// figures. So neither a stall nor an idle moment decides anything.
const attempts = 3

func measureUntil(ctx context.Context, measure part, failed func(metric) bool) (all []metric, err error) {
	for range attempts {
		if all, err = measure(ctx); err != nil || !slices.ContainsFunc(all, failed) {
			return all, err
		}
	}
	return all, nil
}

// build has what the figures depend on outside this project.
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
	text, err := exec.CommandContext(ctx, binary, "--version").Output() //nolint:gosec // it is the server that is started
	found := redisVersion.FindSubmatch(text)
	if err != nil || found == nil {
		return build{}, fmt.Errorf("%s --version printed %.100q: %w", binary, text, err)
	}
	redis := strings.TrimPrefix(string(found[1])+" "+string(found[2]), "Redis ")
	return build{Go: version.Lang(runtime.Version()), Redis: redis, Arch: runtime.GOARCH}, nil
}

// baseline is the content of bench/baseline.json: the accepted figures.
type baseline struct {
	Build   build              `json:"measured_with"`
	Figures map[string]float64 `json:"figures"`
}

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
		return baseline{}, fmt.Errorf("%s is not a baseline: %w; %s", path, err, baselineRemedy)
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

func writeBaseline(ctx context.Context, path string) error {
	now, err := currentBuild(ctx)
	if err != nil {
		return err
	}
	values := make(map[string][]float64)
	tolerances := make(map[string]*tolerance)
	for range attempts {
		for _, measure := range parts {
			all, err := measure(ctx)
			if err != nil {
				return err
			}
			for _, m := range all {
				values[m.name], tolerances[m.name] = append(values[m.name], m.value), m.tolerance
			}
		}
	}
	figures := make(map[string]float64)
	for name, v := range values {
		slices.Sort(v)
		switch lowest, highest := v[0], v[len(v)-1]; {
		case tolerances[name] == exact && (lowest != highest || len(v) != attempts):
			return fmt.Errorf("%s was %v in %d runs: an exact figure must be the same in each", name, v, attempts)
		case tolerances[name] == ratioOfRates:
			figures[name] = lowest
		default:
			figures[name] = v[len(v)/2]
		}
	}
	return baseline{Build: now, Figures: figures}.write(path)
}

// metric is a measured figure with its tolerance.
type metric struct {
	name      string
	value     float64
	tolerance *tolerance
}

// tolerance is the accepted distance of a figure from the baseline.
type tolerance struct {
	decimals int
	accepts  func(now, accepted float64) bool
	compiler func(build) string // figures of another compiler are not compared; nil if it does not matter
}

var (
	exact        = &tolerance{decimals: 4, accepts: func(now, accepted float64) bool { return now == accepted }}
	allocations  = &tolerance{decimals: 2, accepts: func(now, accepted float64) bool { return math.Abs(now-accepted) <= 0.1 }, compiler: build.ofGo}
	allocated    = &tolerance{decimals: 0, accepts: within(0.02), compiler: build.ofGo}
	redisInstr   = &tolerance{decimals: 0, accepts: within(0.02), compiler: build.ofRedis}
	localInstr   = &tolerance{decimals: 1, accepts: within(0.01), compiler: build.ofGo}
	ratioOfRates = &tolerance{decimals: 2, accepts: func(now, accepted float64) bool { return now >= accepted/2 }}
)

func within(part float64) func(now, accepted float64) bool {
	return func(now, accepted float64) bool { return math.Abs(now-accepted) <= part*accepted }
}

// newMetric rounds the value to its decimals.
func newMetric(name string, value float64, t *tolerance) metric {
	scale := math.Pow10(t.decimals)
	return metric{name: name, value: math.Round(value*scale) / scale, tolerance: t}
}

// result is a row of the table.
type result struct {
	name, accepted, now, text string
	failed                    bool
}

// compare compares each metric, and adds the figures of the baseline that were not measured.
func compare(accepted baseline, now build, all []metric) []result {
	var results []result
	measured := make(map[string]bool)
	for _, m := range all {
		measured[m.name] = true
		results = append(results, compareOne(m, accepted, now))
	}
	for _, name := range slices.Sorted(maps.Keys(accepted.Figures)) {
		if !measured[name] {
			results = append(results, result{name: name, accepted: number(accepted.Figures[name]), now: "-", text: "GONE", failed: true})
		}
	}
	return results
}

func compareOne(m metric, accepted baseline, now build) result {
	r := result{name: m.name, accepted: "-", now: number(m.value), text: "ok"}
	was, known := accepted.Figures[m.name]
	if !known {
		r.text, r.failed = "NEW", true
		return r
	}
	r.accepted = number(was)
	switch compiler := m.tolerance.compiler; {
	case compiler != nil && compiler(now) != compiler(accepted.Build):
		r.text = "not compared: " + compiler(now)
	case !m.tolerance.accepts(m.value, was):
		r.text, r.failed = "CHANGED", true
		if was != 0 {
			r.text += fmt.Sprintf(" by %+.1f %%", 100*(m.value-was)/was)
		}
	}
	return r
}

func number(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

// report prints the table, and returns an error that names the failures.
func report(out io.Writer, accepted baseline, now build, results []result) error {
	const row = "%-56s %12s %12s  %s\n"
	fmt.Fprintf(out, row, "figure (per decision)", "baseline", "now", "result")
	failed := ""
	count := 0
	for _, r := range results {
		fmt.Fprintf(out, row, r.name, r.accepted, r.now, r.text)
		if r.failed {
			count++
			failed += fmt.Sprintf("\n  %s: %s, was %s: %s", r.name, r.now, r.accepted, r.text)
		}
	}
	if now != accepted.Build {
		fmt.Fprintf(out, "The baseline is of %s, this is %s.\n", accepted.Build, now)
	}
	if count > 0 {
		return fmt.Errorf("%d of %s differ from the baseline:%s\nIf that is intended, run make bench-baseline, and explain it in the commit", count, wording.Count(len(results), "figure"), failed)
	}
	fmt.Fprintf(out, "%s as in the baseline.\n", wording.Count(len(results), "figure"))
	return nil
}
