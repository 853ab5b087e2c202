package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

const sweepDescription = `The bench runs at each of several values of one thing, in a random order over
several rounds, and the medians are told with their spread. Over concurrency or
nodes it names the knee: where throughput ceases to grow with the callers (Kneedle,
Satopaa et al. 2011). Over tenants or open holds it says whether a decision costs the same
whatever there is, or from where on it does not. If the rounds differ so much that
others would have another knee, it names none. After each run the books are checked.

Budgets are so large that nobody runs out, unless --budget or --workload storm
says otherwise.

Examples:
  bursar bench sweep --over concurrency --redis spawn --html sweep.html
  bursar bench sweep --over tenants --from 1 --to 10000 --redis redis://localhost:6379
  bursar bench sweep --over holds --values 0,10000,100000 --redis spawn`

const (
	sweepRounds   = 3
	sweepDuration = 3 * time.Second
)

// sweepCommand is `bursar bench sweep`: what bench has, but for contenders.
func sweepCommand() *cli.Command {
	d := Defaults()
	d.Duration = sweepDuration
	own := []cli.Flag{
		&cli.StringFlag{Name: "over", Usage: "`WHAT` is swept over: concurrency, nodes, tenants, or holds (open before the measurement; of 1 tenant unless --tenants says otherwise)"},
		&cli.StringFlag{Name: "values", Usage: "growing `LIST`, as in 1,2,4,8", DefaultText: "doublings over a range that suits"},
		&cli.StringFlag{Name: "from", Usage: "first `VALUE` of doublings"},
		&cli.StringFlag{Name: "to", Usage: "last `VALUE` of doublings"},
		&cli.IntFlag{Name: "rounds", Value: sweepRounds, Usage: "in which all values take turns"},
	}
	shared := slices.DeleteFunc(append(flags(d), report.OutputFlags()...), func(flag cli.Flag) bool {
		return slices.Contains([]string{"baselines", "rounds", "hgrm"}, flag.Names()[0])
	})
	for _, flag := range shared {
		if duration, ok := flag.(*cli.DurationFlag); ok && duration.Name == "duration" {
			duration.Usage = "how long to measure at each value, over all rounds; a --trace ends with its last line, or here where this is given"
		}
	}
	return &cli.Command{
		Name: "sweep", Usage: "measure how cost grows as work grows, and name the knee",
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
		return Config{}, Sweep{}, fmt.Errorf("--%s is what is swept over: leave it out; --values, or --from and --to, say which values it has", s.Over)
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
