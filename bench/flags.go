package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

func flags(d Config) []cli.Flag {
	const where = "`WHERE`: embedded (miniredis), spawn (a private redis-server), or the URL of your own: redis://, rediss://, redis+sentinel://, redis+cluster://, unix://"
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "engine", Value: d.Engine, Usage: "`NAME`: redis, or local (in this process, one node)"},
	}, connect.ServerFlags(d.Redis, where), []cli.Flag{
		&cli.StringFlag{Name: "prefix", Category: connect.Category, Usage: "`TEXT` that the keys begin with, before a random one; it must have no keys yet", DefaultText: "a random one"},
		&cli.BoolFlag{Name: "share-prefix", Category: connect.Category, Usage: "use --prefix though it has keys, which are left alone"},
		&cli.IntFlag{Name: "partitions", Category: connect.Category, Usage: "of the keys, a power of two", DefaultText: fmt.Sprintf("%d, on a Cluster %d", coordinator.DefaultPartitions, coordinator.DefaultClusterPartitions)},
		&cli.IntFlag{Name: "nodes", Value: d.Nodes, Usage: "coordinators, each with its own connections (1 with --engine local)"},
		&cli.IntFlag{Name: "tenants", Value: d.Tenants, Usage: "budgets"},
		&cli.IntFlag{Name: "concurrency", Value: d.Concurrency, Usage: "callers a node"},
		&cli.DurationFlag{Name: "duration", Value: d.Duration, Usage: "how long to measure; a --trace ends with its last line, or here where this is given"},
		&cli.Int64Flag{Name: "requests", Usage: "end after `N` requests of all callers, or after --duration, whichever comes first"},
		&cli.Uint64Flag{Name: "seed", Value: d.Seed, Usage: "of the drawn requests"},
		&cli.StringFlag{Name: "workload", Value: d.Workload, Usage: "`NAME`: uniform; hot (one tenant); zipf (some tenants much hotter); storm (budgets for a few requests: most are refused)"},
		&cli.Float64Flag{Name: "zipf", Value: d.Zipf, Usage: "exponent `S` of --workload zipf"},
		&cli.IntFlag{Name: "above", Value: d.Above, Usage: "requests of a thousand (`PERMILLE`) that commit above their hold"},
		&cli.BoolFlag{Name: "processes", Usage: "every node is a process of its own"},
		&cli.DurationFlag{Name: "hold-time", Usage: "time between a reserve and its settlement"},
		&cli.Float64Flag{Name: "rate", Usage: "requests a second of all nodes, at constant intervals, with latencies from when they were due", DefaultText: "each caller's next request follows its last"},
		&cli.DurationFlag{Name: "warmup", Usage: "time before the first round, no longer than it, not measured, but in the books", DefaultText: "a tenth of --duration, at most 2s; none with --trace"},
		&cli.StringFlag{Name: "against", Usage: "also measure the contenders of this `LIST` beside ours, in turns; each takes as long again: all, or some of " + strings.Join(contender.All, ",")},
		&cli.BoolFlag{Name: "baseline", Usage: "the same as --against incr,script"},
		&cli.IntFlag{Name: "rounds", Usage: "in which the contenders take turns, of which the medians are told", DefaultText: "5 with contenders, 1 without"},
		&cli.StringFlag{Name: "trace", Usage: "play the requests of a CSV `FILE` once, in order, by its columns " + load.TraceHeader + "; plain or gzip; - is standard input"},
		&cli.Float64Flag{Name: "speed", Usage: "of a --trace: 1 is its own pace, 10 is ten times as fast", DefaultText: "0, as fast as possible"},
		amountFlag("input-price", d.InputPrice.String(), "", "of a million context tokens, with its unit"),
		amountFlag("output-price", d.OutputPrice.String(), "", "of a million generated tokens, with its unit"),
		&cli.Int64Flag{Name: "max-output", Value: d.MaxOutput, Usage: "generated tokens that a request reserves"},
		amountFlag("budget", "", "from a few requests to many millions", "of every tenant, with its unit"),
	})
}

func amountFlag(name, value, preset, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Value: value, DefaultText: preset, Usage: "`AMOUNT` " + usage}
}

func configOf(cc *cli.Context) (Config, error) {
	if cc.Args().Present() {
		return Config{}, fmt.Errorf("%s takes flags only, not %q; see %s --help", cc.Command.Name, cc.Args().First(), cc.Command.HelpName)
	}
	c := Config{
		Spec: load.Spec{
			Workload: cc.String("workload"), Seed: cc.Uint64("seed"), Tenants: cc.Int("tenants"), Requests: cc.Int64("requests"),
			Zipf: cc.Float64("zipf"), Above: cc.Int("above"), HoldTime: cc.Duration("hold-time"),
			Rate: cc.Float64("rate"), Speed: cc.Float64("speed"), Trace: cc.String("trace"), MaxOutput: cc.Int64("max-output"),
		},
		Engine: cc.String("engine"), Nodes: cc.Int("nodes"), Partitions: cc.Int("partitions"), Concurrency: cc.Int("concurrency"),
		Duration: cc.Duration("duration"), Warmup: Defaults().Warmup, Rounds: cc.Int("rounds"), Processes: cc.Bool("processes"),
		Prefix: cc.String("prefix"), SharePrefix: cc.Bool("share-prefix"), Input: cc.App.Reader,
	}
	var err error
	if c.Redis, c.Secrets, err = redisOf(cc, c.Engine); err != nil {
		return Config{}, err
	}
	if c.Engine == report.EngineLocal && !cc.IsSet("nodes") {
		c.Nodes = 1
	}
	if c.Workload == load.Hot && !cc.IsSet("tenants") {
		c.Tenants = 1
	}
	if cc.IsSet("warmup") {
		c.Warmup = cc.Duration("warmup")
	}
	if err := needless(cc, c); err != nil {
		return Config{}, err
	}
	if c.Rounds <= 0 && cc.IsSet("rounds") {
		return Config{}, fmt.Errorf("--rounds %d: give 1 to %d", c.Rounds, MaxRounds)
	}
	if c.Against, err = against(cc); err != nil {
		return Config{}, err
	}
	if c.Duration <= 0 && cc.IsSet("duration") {
		return Config{}, fmt.Errorf("--duration %s: give more than 0s, at most %s", c.Duration, MaxDuration)
	}
	if cc.IsSet("requests") && c.Requests < 1 {
		return Config{}, fmt.Errorf("--requests %d: give 1 to %d, or leave it out", c.Requests, load.MaxRequests)
	}
	if cc.IsSet("prefix") && c.Prefix == "" {
		return Config{}, errors.New("--prefix is empty: give 1 to 47 characters, or leave it out for a random one")
	}
	if cc.IsSet("partitions") && c.Partitions == 0 {
		return Config{}, fmt.Errorf("--partitions 0: give a power of two from 1 to %d", MaxPartitions)
	}
	if cc.IsSet("trace") && c.Trace == "" {
		return Config{}, errors.New("--trace is empty: give the path of a CSV file, or - for standard input")
	}
	if c.Trace != "" && !cc.IsSet("duration") {
		c.Duration = time.Duration(0)
	}
	var errIn, errOut, errBudget error
	c.InputPrice, errIn = amountOf(cc, "input-price")
	c.OutputPrice, errOut = amountOf(cc, "output-price")
	if cc.IsSet("budget") {
		if c.Budget, errBudget = amountOf(cc, "budget"); errBudget == nil && c.Budget == 0 {
			errBudget = errors.New("--budget $0.00: give more")
		}
	}
	return c, errors.Join(errIn, errOut, errBudget)
}

// redisOf returns where the Redis is, and its secrets if it is the user's. The local
// engine takes none from the variable, or from the default.
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

// needless finds flags that would do nothing, and are a misunderstanding.
func needless(cc *cli.Context, c Config) error {
	if cc.IsSet("zipf") && c.Workload != load.Zipf {
		return errors.New("--zipf is of --workload zipf: give that as well")
	}
	if cc.IsSet("rate") && c.Rate == 0 {
		return fmt.Errorf("--rate 0: give requests a second above 0, at most %d", load.MaxRate)
	}
	if cc.IsSet("warmup") && c.Warmup < 0 {
		return fmt.Errorf("--warmup %s: give 0s to %s", c.Warmup, MaxDuration)
	}
	for _, flag := range []string{"workload", "above"} {
		if c.Trace != "" && cc.IsSet(flag) {
			return fmt.Errorf("--%s: a trace says itself what is asked for; leave out one of both", flag)
		}
	}
	return nil
}

// against reads --against and its short form.
func against(cc *cli.Context) ([]string, error) {
	switch {
	case cc.IsSet("against") && cc.Bool("baseline"):
		return nil, errors.New("--baseline is --against incr,script: give one of both")
	case cc.Bool("baseline"):
		return []string{contender.Incr, contender.Script}, nil
	case !cc.IsSet("against"):
		return nil, nil
	}
	names, err := contender.Parse(cc.String("against"))
	if err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	return names, nil
}

func amountOf(cc *cli.Context, flag string) (budget.Microcents, error) {
	amount, err := budget.ParseMicrocents(cc.String(flag))
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", flag, err)
	}
	return amount, nil
}
