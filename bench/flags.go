package bench

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

func flags(d Config) []cli.Flag {
	const where = "run on `SERVER`: embedded (miniredis), spawn (a private redis-server), or the URL of yours: redis://, rediss://, redis+sentinel://, redis+cluster://, unix://"
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "engine", Value: d.Engine, Usage: "run the engine `NAME`: redis or local (in this process, one node)"},
	}, connect.ServerFlags(d.Redis, where), []cli.Flag{
		&cli.StringFlag{Name: "prefix", Category: connect.Category, Usage: "begin keys with `TEXT` and a random suffix; no key may begin with TEXT yet", DefaultText: "a random one"},
		&cli.IntFlag{Name: "partitions", Category: connect.Category, Usage: "divide the keys into `N` partitions, a power of two", DefaultText: fmt.Sprintf("%d; %d on a Cluster", coordinator.DefaultPartitions, coordinator.DefaultClusterPartitions)},
		&cli.IntFlag{Name: "nodes", Value: d.Nodes, Usage: "run `N` coordinators, each with its own connections (1 with --engine local)"},
		&cli.IntFlag{Name: "tenants", Value: d.Tenants, Usage: "create `N` tenants, each with a budget"},
		&cli.IntFlag{Name: "levels", Value: d.Levels, Usage: "give each tenant `N` levels, with a budget each, below one root; baselines except local have none"},
		&cli.IntFlag{Name: "fanout", Value: d.FanOut, Usage: "divide the tenants into `N` groups on each level between the root and them (with --levels 3 or more)"},
		&cli.IntFlag{Name: "limits", Value: d.Limits, Usage: "give each account `N` limits: its budget, and windows beside it that refuse nothing; baselines except local have none"},
		amountFlag("limit-amount", "", "twice the budget", "grant `AMOUNT` to each limit beside the budget, with its unit (with --limits 2 or more)"),
		&cli.DurationFlag{Name: "roll-every", Usage: "renew all budgets at this interval, by hourly windows and a clock that skips to the next hour; baselines have none", DefaultText: "never"},
		&cli.IntFlag{Name: "concurrency", Value: d.Concurrency, Usage: "run `N` workers on each node"},
		&cli.DurationFlag{Name: "duration", Value: d.Duration, Usage: "measure for this time; with --trace, until its last line unless this is set"},
		&cli.Int64Flag{Name: "requests", Usage: "stop after `N` requests of all workers, if --duration has not passed", DefaultText: "unlimited"},
		&cli.Uint64Flag{Name: "seed", Value: d.Seed, Usage: "draw the requests from random seed `N`"},
		&cli.StringFlag{Name: "workload", Value: d.Workload, Usage: "generate the workload `NAME`: uniform; hot (one tenant); zipf (few tenants get most requests); storm (budgets for a few requests: most are refused)"},
		&cli.Float64Flag{Name: "zipf", Value: d.Zipf, Usage: "set the exponent of --workload zipf to `S`"},
		&cli.IntFlag{Name: "overrun-permille", Value: d.Above, Usage: "commit more than was held for `N` of 1000 requests"},
		&cli.BoolFlag{Name: "processes", Usage: "run each node as a separate process"},
		&cli.DurationFlag{Name: "hold-time", Usage: "wait this time between a reserve and its settlement", DefaultText: "none"},
		&cli.Float64Flag{Name: "rate", Usage: "send `N` requests per second from all nodes together, at constant intervals, and measure latency from the time at which each was due", DefaultText: "a closed loop: each worker sends its next request after its last"},
		&cli.DurationFlag{Name: "warmup", Usage: "run unmeasured for this time before the first round, at most as long as a round", DefaultText: "a tenth of --duration, at most 2s; none with --trace"},
		&cli.StringFlag{Name: "baselines", Usage: "compare with the baselines in `LIST`, in interleaved rounds, each for as long again: all, or some of " + strings.Join(baseline.All, ",")},
		&cli.IntFlag{Name: "rounds", Usage: "divide the duration into `N` interleaved rounds and report medians", DefaultText: "5 with --baselines, 1 without"},
		&cli.StringFlag{Name: "trace", Usage: "replay the requests of a CSV `FILE` with the columns " + workload.TraceHeader + "; plain or gzip; - is standard input"},
		&cli.Float64Flag{Name: "speed", Usage: "replay a --trace at `N` times its original speed", DefaultText: "0: as fast as possible"},
		&cli.StringSliceFlag{Name: failFlag, Usage: "exit with code 1 if `CONDITION` holds, such as 'p99>10ms' (repeatable): p50, p90, p95, p99, p99.9, max, mean, rate, refusals or overspent, with > or <"},
		&cli.StringFlag{Name: compareFlag, Usage: "compare with an earlier report, a `FILE` that --json wrote"},
		amountFlag("input-price", d.InputPrice.String(), "", "charge `AMOUNT` per million context tokens, with its unit"),
		amountFlag("output-price", d.OutputPrice.String(), "", "charge `AMOUNT` per million generated tokens, with its unit"),
		&cli.Int64Flag{Name: "max-output", Value: d.MaxOutput, Usage: "reserve for `N` generated tokens per request"},
		amountFlag("budget", "", "from a few requests to many millions", "give every tenant the budget `AMOUNT`, with its unit"),
	})
}

func amountFlag(name, value, preset, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Value: value, DefaultText: preset, Usage: usage}
}

func configOf(cc *cli.Context) (Config, error) {
	if cc.Args().Present() {
		return Config{}, fmt.Errorf("%s takes flags only, not %q; see %s --help", cc.Command.Name, cc.Args().First(), cc.Command.HelpName)
	}
	c := Config{
		Spec: workload.Spec{
			Workload: cc.String("workload"), Seed: cc.Uint64("seed"), Tenants: cc.Int("tenants"), Requests: cc.Int64("requests"),
			Zipf: cc.Float64("zipf"), Above: cc.Int("overrun-permille"), HoldTime: cc.Duration("hold-time"),
			Rate: cc.Float64("rate"), Speed: cc.Float64("speed"), Trace: cc.String("trace"), MaxOutput: cc.Int64("max-output"),
		},
		Engine: cc.String("engine"), Nodes: cc.Int("nodes"), Partitions: cc.Int("partitions"), Concurrency: cc.Int("concurrency"), Levels: cc.Int("levels"), FanOut: cc.Int("fanout"), Limits: cc.Int("limits"), RollEvery: cc.Duration("roll-every"),
		Duration: cc.Duration("duration"), Warmup: Defaults().Warmup, Rounds: cc.Int("rounds"), Processes: cc.Bool("processes"),
		Prefix: cc.String("prefix"), Input: cc.App.Reader,
	}
	var err error
	if c.Redis, c.Secrets, err = redisOf(cc, c.Engine); err != nil {
		return Config{}, err
	}
	if c.Engine == report.EngineLocal && !cc.IsSet("nodes") {
		c.Nodes = 1
	}
	if c.Workload == workload.Hot && !cc.IsSet("tenants") {
		c.Tenants = 1
	}
	if cc.IsSet("warmup") {
		c.Warmup = cc.Duration("warmup")
	}
	if c.Trace != "" && !cc.IsSet("duration") {
		c.Duration = 0
	}
	if cc.IsSet("baselines") {
		if c.Baselines, err = baseline.Parse(cc.String("baselines")); err != nil {
			return Config{}, fmt.Errorf("--baselines: %w", err)
		}
	}
	if err := validateSet(cc, c); err != nil {
		return Config{}, err
	}
	var errIn, errOut, errBudget, errLimit error
	c.InputPrice, errIn = amountOf(cc, "input-price")
	c.OutputPrice, errOut = amountOf(cc, "output-price")
	if cc.IsSet("budget") {
		c.Budget, errBudget = amountOf(cc, "budget")
		errBudget = cmp.Or(errBudget, workload.Require(c.Budget != 0, "--budget $0.00: give more"))
	}
	if cc.IsSet("limit-amount") {
		c.LimitAmount, errLimit = amountOf(cc, "limit-amount")
		errLimit = cmp.Or(errLimit, workload.Require(c.LimitAmount != 0, "--limit-amount $0.00: give more"))
	}
	return c, errors.Join(errIn, errOut, errBudget, errLimit)
}

// redisOf returns the address of the Redis, and the secrets of a server of the user's. The
// local engine ignores the variable and the default.
func redisOf(cc *cli.Context, engine string) (string, connect.Secrets, error) {
	address, variable := connect.AddressOf(cc)
	if engine == report.EngineLocal && (variable != "" || !cc.IsSet("redis")) {
		address = ""
	}
	if address == "" && engine == report.EngineRedis {
		return "", connect.Secrets{}, errors.New("--redis is empty: give embedded, spawn or a URL, or leave it out")
	}
	if address == "" || scratch.IsOwn(address) {
		return address, connect.Secrets{}, connect.NoServer(cc)
	}
	secrets, err := connect.SecretsOf(cc)
	return address, secrets, err
}

// validateSet returns an error for the first flag that is set and has no effect, or is set
// to the value that stands for an unset flag.
func validateSet(cc *cli.Context, c Config) error {
	// unless returns an error if a flag is set, unless a condition holds.
	unless := func(holds bool, flag, format string, args ...any) error {
		return workload.Require(holds || !cc.IsSet(flag), "--"+flag+format, args...)
	}
	const own = ": not allowed with --trace, which has requests of its own: leave out one of the two"
	return cmp.Or(
		unless(c.Workload == workload.Zipf, "zipf", " has no effect: give --workload zipf, too"),
		unless(c.Levels >= 3, "fanout", " has no effect: give --levels 3 or more, too"),
		unless(c.Limits >= 2, "limit-amount", " has no effect: give --limits 2 or more, too"),
		unless(c.RollEvery != 0, "roll-every", " 0s: give %s to %s, or leave it out", minRollEvery, maxRollEvery),
		unless(c.Rate != 0, "rate", " 0: give requests per second above 0, at most %d", workload.MaxRate),
		unless(c.Warmup >= 0, "warmup", " %s: give 0s to %s", c.Warmup, maxDuration),
		unless(c.Trace == "", "workload", own),
		unless(c.Trace == "", "overrun-permille", own),
		unless(c.Rounds > 0, "rounds", " %d: give 1 to %d", c.Rounds, maxRounds),
		unless(c.Duration > 0, "duration", " %s: give more than 0s, at most %s", c.Duration, maxDuration),
		unless(c.Requests >= 1, "requests", " %d: give 1 to %d, or leave it out", c.Requests, workload.MaxRequests),
		unless(c.Prefix != "", "prefix", " is empty: give 1 to 47 characters, or leave it out for a random one"),
		unless(c.Partitions != 0, "partitions", " 0: give a power of two from 1 to %d", maxPartitions),
		unless(c.Trace != "", "trace", " is empty: give the path of a CSV file, or - for standard input"))
}

func amountOf(cc *cli.Context, flag string) (budget.Microcents, error) {
	amount, err := budget.ParseMicrocents(cc.String(flag))
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", flag, err)
	}
	return amount, nil
}
