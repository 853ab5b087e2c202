package cli

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// seen is the input of a command.
type seen struct {
	Command string
	Flags   map[string]string // only those that were set
	Args    []string
}

// recordingApp returns the whole program with commands that only record their input.
func recordingApp(into *seen) *cli.App {
	app := newApp(io.Discard, io.Discard, bench.Command())
	each(app.Commands, nil, func(path []string, command *cli.Command) {
		command.Action = func(cc *cli.Context) error {
			*into = seen{strings.Join(path, " "), map[string]string{}, cc.Args().Slice()}
			for _, name := range cc.LocalFlagNames() {
				into.Flags[name] = fmt.Sprint(cc.Value(name))
			}
			return nil
		}
	})
	return app
}

func each(list []*cli.Command, above []string, do func(path []string, command *cli.Command)) {
	for _, command := range list {
		path := append(above[:len(above):len(above)], command.Name)
		do(path, command)
		each(command.Subcommands, path, do)
	}
}

// written returns a flag with a valid value, in a random form of the command line.
func written(random *rand.Rand, f cli.Flag) []string {
	name := f.Names()[random.IntN(len(f.Names()))]
	dashes := []string{"-", "--"}[random.IntN(2)]
	value := map[bool]string{true: "7", false: "some -value"}[random.IntN(2) == 0]
	switch f.(type) {
	case *cli.BoolFlag:
		return []string{dashes + name + []string{"", "=true"}[random.IntN(2)]}
	case *cli.DurationFlag:
		value = "90s"
	case *cli.StringFlag:
		value = []string{value, "--", "--json", "-x", "a=b", "tenant", "-"}[random.IntN(7)]
	default:
		value = "7"
	}
	if random.IntN(2) == 0 {
		return []string{dashes + name + "=" + value}
	}
	return []string{dashes + name, value}
}

// Flags may stand anywhere: the command has the same input as with all flags before its
// arguments, in the order that the library's parser needs.
func TestFlagsMayStandAnywhere(t *testing.T) {
	var got, want seen
	app := recordingApp(&got)
	direct := recordingApp(&want)
	random := rand.New(rand.NewPCG(13, 3))
	each(app.Commands, nil, func(path []string, command *cli.Command) {
		own := slices.Clone(command.Flags) // the library adds the help flag
		for range 50 {
			var flags, args [][]string
			for range random.IntN(5) {
				if len(own) > 0 {
					flags = append(flags, written(random, own[random.IntN(len(own))]))
				}
			}
			for range random.IntN(4) {
				if len(command.Subcommands) == 0 {
					args = append(args, []string{[]string{"acme", "-$5", "-5c", "-", "a b", "list", "-.5c"}[random.IntN(7)]})
				}
			}
			var names, ended [][]string
			for _, name := range path {
				names = append(names, []string{name})
			}
			if len(command.Subcommands) == 0 && random.IntN(2) == 0 {
				ended = [][]string{{"--"}, {"--json"}, {"-x"}, {"--"}}
			}
			mixed := slices.Concat(shuffled(random, append(names, args...), flags), ended)
			plain := slices.Concat(names, flags, [][]string{{"--"}}, args)
			if len(ended) > 0 {
				plain = append(plain, ended[1:]...)
			}
			line := append([]string{"bursar"}, slices.Concat(mixed...)...)
			got, want = seen{}, seen{}
			err := dispatch(context.Background(), app, line)
			wantErr := direct.Run(append([]string{"bursar"}, slices.Concat(plain...)...))
			if diff := cmp.Diff(want, got); err != nil || wantErr != nil || diff != "" {
				t.Fatalf("%q: %v, %v\n- want, + got:\n%s", line, err, wantErr, diff)
			}
		}
	})
}

// shuffled merges two lists at random, and keeps the order within each.
func shuffled(random *rand.Rand, one, other [][]string) (all [][]string) {
	for len(one)+len(other) > 0 {
		if random.IntN(len(one)+len(other)) < len(one) {
			all, one = append(all, one[0]), one[1:]
		} else {
			all, other = append(all, other[0]), other[1:]
		}
	}
	return all
}

// A flag takes a value in all commands or in none, so that the next word can be read
// before the command is known.
func TestFlagsTakeAValueConsistently(t *testing.T) {
	takes := map[string]bool{}
	each(newApp(io.Discard, io.Discard, bench.Command()).Commands, nil, func(path []string, command *cli.Command) {
		for _, f := range command.Flags {
			for _, name := range f.Names() {
				value := f.(cli.DocGenerationFlag).TakesValue()
				if before, found := takes[name]; found && before != value || !isFlag("--"+name) || !isFlag("-"+name) {
					t.Errorf("%v: --%s takes a value: %t; of another command: %t", path, name, value, before)
				}
				takes[name] = value
			}
		}
	})
}

func TestCommandLines(t *testing.T) {
	var got seen
	app := recordingApp(&got)
	for _, c := range []struct{ line, want string }{
		{"tenant show acme --json --prefix p", "tenant show map[json:true prefix:p] [acme]"},
		{"--prefix=p tenant --json show acme", "tenant show map[json:true prefix:p] [acme]"},
		{"tenant show --prefix a acme --prefix b", "tenant show map[prefix:b] [acme]"},
		{"tenant show --json=false acme --json", "tenant show map[json:true] [acme]"},
		{"tenant show -json -prefix p acme", "tenant show map[json:true prefix:p] [acme]"},
		{"tenant show -- -x", "tenant show map[] [-x]"},
		{"tenant show --json -- --json", "tenant show map[json:true] [--json]"},
		{"tenant show acme -- --", "tenant show map[] [acme --]"},
		{"-- tenant show --json", "tenant show map[] [--json]"},
		{"tenant grant acme -$5 --json", "tenant grant map[json:true] [acme -$5]"},
		{"tenant grant acme -5c", "tenant grant map[] [acme -5c]"},
		{"tenant watch a b --times -1 c", "tenant watch map[times:-1] [a b c]"},
		{"tenant list --prefix --json", "tenant list map[prefix:--json] []"},
		{"tenant list --prefix -- --json", "tenant list map[json:true prefix:--] []"},
		{"holds release --older-than 10m ID --yes", "holds release map[older-than:10m0s yes:true] [ID]"},
		{"replay a.jsonl --engine local b.jsonl", "replay map[engine:local] [a.jsonl b.jsonl]"},
		{"bench --tenants 5 sweep --over nodes", "bench sweep map[over:nodes tenants:5] []"},
		{"bench sweep --json", "bench sweep map[json:true] []"},
		{"--version", "version map[] []"},
		{"-v", "version map[] []"},
		{"--json --version", "version map[json:true] []"},
		{"-v tenant list", "version map[] []"},
		{"reserve acme 5c --ttl 0", "reserve map[ttl:0s] [acme 5c]"},
	} {
		got = seen{}
		err := dispatch(context.Background(), app, append([]string{"bursar"}, strings.Fields(c.line)...))
		if printed := fmt.Sprintf("%s %v %v", got.Command, got.Flags, got.Args); err != nil || printed != c.want {
			t.Errorf("%s: %s, %v; want %s", c.line, printed, err, c.want)
		}
	}
}

// A wrong flag is the same usage error in every position.
func TestWrongFlags(t *testing.T) {
	var got seen
	app := recordingApp(&got)
	for _, c := range []struct{ line, want string }{
		{"tenant show --unknown acme", "flag provided but not defined: -unknown; write an argument that begins with a dash after --, or see bursar tenant show --help"},
		{"tenant show acme --unknown", "flag provided but not defined: -unknown; write an argument that begins with a dash after --, or see bursar tenant show --help"},
		{"--unknown tenant show acme", "flag provided but not defined: -unknown; write an argument that begins with a dash after --, or see bursar tenant show --help"},
		{"tenant list --unknown=3 --json", "flag provided but not defined: -unknown; see bursar tenant list --help"},
		{"--unknown 3 tenant list", "flag provided but not defined: -unknown; see bursar --help"},
		{"tenant list ---json", "bad flag syntax: ---json; see bursar tenant list --help"},
		{"tenant list --=3", "bad flag syntax: --=3; see bursar tenant list --help"},
		{"tenant show acme --prefix", "flag needs an argument: -prefix; see bursar tenant show --help"},
		{"tenant show --timeout", "flag needs an argument: -timeout; see bursar tenant show --help"},
		{"tenant list -v", "flag provided but not defined: -v; see bursar tenant list --help"},
		{"reserve acme 5c --ttl 5000", `--ttl "5000": give a duration such as 90s or 15m; see bursar reserve --help`},
		{"reserve --ttl=5000 acme 5c", `--ttl "5000": give a duration such as 90s or 15m; see bursar reserve --help`},
		{"reserve --ttl= acme 5c", `--ttl "": give a duration such as 90s or 15m; see bursar reserve --help`},
		{"--ttl 1d reserve acme 5c", `--ttl "1d": give a duration such as 90s or 15m; see bursar reserve --help`},
		{"reserve acme 5c --json=maybe", `--json "maybe": give true or false, or leave the value out; see bursar reserve --help`},
		{"bench --requests many", `--requests "many": parse error: give a whole number; see bursar bench --help`},
		{"bench --requests 9999999999999999999999", `--requests "9999999999999999999999": value out of range: give a whole number; see bursar bench --help`},
		{"bench --rate fast", `--rate "fast": parse error: give a number; see bursar bench --help`},
		{"tennant list", `no command is named "tennant"; did you mean bursar tenant?; see bursar --help`},
		{"--redis x", `--redis is a flag of other commands: name one of them; see bursar --help`},
		{"tenant --json", `--json is a flag of other commands: name one of them; see bursar tenant --help`},
		{"bench --over nodes", `--over is a flag of other commands: name one of them; see bursar bench --help`},
		{"wat", `no command is named "wat"; see bursar --help`},
		{"wat --json", `no command is named "wat"; see bursar --help`},
		{"--redis x wat", `no command is named "wat"; see bursar --help`},
		{"list", `no command is named "list"; did you mean bursar tenant list or bursar holds list?; see bursar --help`},
		{"delete acme", `no command is named "delete"; did you mean bursar tenant delete?; see bursar --help`},
		{"tenant lst", `bursar tenant has no command named "lst"; did you mean bursar tenant list?; see bursar tenant --help`},
		{"tenant del acme --json", `bursar tenant has no command named "del"; did you mean bursar tenant delete?; see bursar tenant --help`},
		{"tenant reserve acme", `bursar tenant has no command named "reserve"; did you mean bursar reserve?; see bursar tenant --help`},
		{"tenant acme show", `bursar tenant has no command named "acme"; see bursar tenant --help`},
		{"bench sweeep", `bursar bench has no command named "sweeep"; did you mean bursar bench sweep?; see bursar bench --help`},
		{"bench nod", `bursar bench has no command named "nod"; see bursar bench --help`},
		{"bench extra", `bursar bench has no command named "extra"; see bursar bench --help`},
	} {
		got = seen{}
		err := dispatch(context.Background(), app, append([]string{"bursar"}, strings.Fields(c.line)...))
		if got.Command != "" || exit.Code(err) != exit.Usage || fmt.Sprint(err) != c.want {
			t.Errorf("%s: code %d, %v; want %s", c.line, exit.Code(err), err, c.want)
		}
	}
}

// Every duration flag rejects a bare number, with an error that shows valid durations.
func TestDurations(t *testing.T) {
	var got seen
	app := recordingApp(&got)
	found := 0
	each(app.Commands, nil, func(path []string, command *cli.Command) {
		for _, f := range command.Flags {
			if _, is := f.(*cli.DurationFlag); !is {
				continue
			}
			found++
			name := f.Names()[0]
			line := slices.Concat([]string{"bursar"}, path, []string{"x", "--" + name, "5000"})
			if len(command.Subcommands) > 0 {
				line = slices.Delete(line, len(line)-3, len(line)-2)
			}
			err := dispatch(context.Background(), app, line)
			want := fmt.Sprintf(`--%s "5000": give a duration such as 90s or 15m; see bursar %s --help`, name, strings.Join(path, " "))
			if exit.Code(err) != exit.Usage || fmt.Sprint(err) != want {
				t.Errorf("%v: %v, want %s", line, err, want)
			}
		}
	})
	if found < 20 {
		t.Errorf("only %d durations were found", found)
	}
}
