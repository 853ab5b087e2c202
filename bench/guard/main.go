// Command guard is the regression guard: it measures what Bursar costs in ways that
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
// on the wire until the others wait behind it (stage.go). For each load:
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
// Ratios of two speeds, measured in turns in one run (package duel), fail at less than
// half of the baseline, and only there: beside other work on two cores one caller's over
// a bare EVALSHA was 0.40 and alone 0.90, from minute to minute.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
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
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("guard", flag.ContinueOnError)
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
