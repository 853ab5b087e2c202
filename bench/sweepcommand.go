package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

const sweepDescription = `Runs the bench at several values of one parameter, in random order in several
rounds, and reports the medians with their spread. Over concurrency or nodes it
names the knee, where throughput ceases to grow (Kneedle, Satopaa et al. 2011).
Over tenants or open holds it says whether the cost of a decision is flat, or from
which value it is not. If the rounds differ too much it names neither. The
balances are checked after each run.

Budgets are so large that no tenant runs out, unless --budget or --workload storm
is given.

Examples:
  bursar bench sweep --over concurrency --redis spawn --html sweep.html
  bursar bench sweep --over tenants --from 1 --to 10000 --redis redis://localhost:6379
  bursar bench sweep --over holds --values 0,10000,100000 --redis spawn`

const (
	sweepName     = "sweep"
	sweepRounds   = 3
	sweepDuration = 3 * time.Second
)

// sweepCommand is `bursar bench sweep`: it has the flags of bench but those of baselines.
func sweepCommand() *cli.Command {
	d := Defaults()
	d.Duration = sweepDuration
	own := []cli.Flag{
		&cli.StringFlag{Name: "over", Usage: "vary `PARAMETER`: concurrency, nodes, tenants, or holds (open before the measurement; of 1 tenant unless --tenants is set)"},
		&cli.StringFlag{Name: "values", Usage: "run at the values in `LIST`, in growing order, as in 1,2,4,8", DefaultText: "doublings over a useful range"},
		&cli.StringFlag{Name: "from", Usage: "begin doublings at `VALUE`"},
		&cli.StringFlag{Name: "to", Usage: "end doublings at `VALUE`"},
		&cli.IntFlag{Name: "rounds", Value: sweepRounds, Usage: "run all values in each of `N` rounds"},
	}
	shared := slices.DeleteFunc(append(flags(d), report.OutputFlags()...), func(flag cli.Flag) bool {
		return slices.Contains([]string{"baselines", "rounds", "hgrm"}, flag.Names()[0])
	})
	for _, flag := range shared {
		if duration, ok := flag.(*cli.DurationFlag); ok && duration.Name == "duration" {
			duration.Usage = "measure each value for this time, over all rounds; with --trace, until its last line unless this is set"
		}
	}
	return &cli.Command{
		Name: sweepName, Usage: "measure how cost grows with load, tenants or holds, and name the knee",
		Description: sweepDescription, Action: actSweep, Flags: append(own, shared...),
	}
}

func actSweep(cc *cli.Context) error {
	c, s, err := sweepOf(cc)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	return perform(cc, c, func(ctx context.Context, c Config) (report.Report, error) { return RunSweep(ctx, c, s) })
}

func sweepOf(cc *cli.Context) (Config, Sweep, error) {
	c, err := configOf(cc)
	if err != nil {
		return Config{}, Sweep{}, err
	}
	s := Sweep{Over: cc.String("over"), Rounds: c.Rounds}
	if slices.Contains(sweepable, s.Over) && cc.IsSet(s.Over) {
		return Config{}, Sweep{}, fmt.Errorf("--%s is the parameter of the sweep: leave it out, and give its values by --values, or --from and --to", s.Over)
	}
	if s.Over == report.OverHolds && !cc.IsSet("tenants") {
		c.Tenants = 1
	}
	for _, flag := range []string{"values", "from", "to"} {
		if cc.IsSet(flag) && cc.String(flag) == "" {
			return Config{}, Sweep{}, fmt.Errorf("--%s is empty: give a number, or leave it out", flag)
		}
	}
	s.Values, err = valuesOf(s.Over, cc.String("values"), cc.String("from"), cc.String("to"))
	return c, s, err
}

// defaultValues are doublings over a useful range.
func defaultValues(over string) []int {
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

// doublings go from first to last, which is always the last of them; 0 is followed by 1.
func doublings(first, last int) []int {
	var values []int
	for v := first; v < last; v = max(1, 2*v) {
		values = append(values, v)
	}
	return append(values, last)
}

// valuesOf reads --values, or --from and --to, which are "" unless set.
func valuesOf(over, list, from, to string) ([]int, error) {
	defaults := defaultValues(over)
	switch {
	case list != "" && (from != "" || to != ""):
		return nil, errors.New("--values and --from, --to: give the values or the range, not both")
	case list != "":
		return parseValues(list)
	case from == "" && to == "":
		return defaults, nil
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
			return nil, fmt.Errorf("--values %q: %q is not a whole number; give some, as in 1,2,4,8", list, text)
		}
		values = append(values, value)
	}
	return values, nil
}
