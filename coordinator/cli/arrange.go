package cli

import (
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// completionFlag is the last argument of a command line that a shell completes.
const completionFlag = "--generate-bash-completion"

// line is a parsed command line. Flags may stand before, between and after the names of
// commands and their arguments, up to a "--".
type line struct {
	path  []*cli.Command // the root and the named commands
	flags []givenFlag
	args  []string
	ended bool // a "--" has ended the flags
}

// givenFlag is a flag as typed: one word, or two if its value is a separate word.
type givenFlag struct {
	name  string
	words []string
	value string
	whole bool // has its value, if it takes one
	first bool // precedes all commands and arguments
}

// arrange returns a command line in the order that urfave/cli needs: names of commands,
// flags, "--", arguments. Its parser treats everything after the first argument as
// arguments. Flags that no command accepts are left to that parser, which reports them.
func arrange(root *cli.Command, words []string) ([]string, error) {
	l := read(root, words[1:])
	last := l.path[len(l.path)-1]
	switch {
	case slices.ContainsFunc(l.flags, givenFlag.asksHelp) && (len(last.Subcommands) == 0 || len(l.args) == 0):
		l.flags = nil
		return append(l.commandAndFlags(words[0]), "--help"), nil
	case slices.ContainsFunc(l.flags, givenFlag.asksVersion):
		l.path, l.args, last = []*cli.Command{root, root.Command("version")}, nil, root.Command("version")
		l.flags = slices.DeleteFunc(l.flags, givenFlag.asksVersion)
	}
	acceptable := !slices.ContainsFunc(l.flags, func(f givenFlag) bool { return !f.whole || !known(last, f.name) })
	if acceptable && len(last.Subcommands) > 0 && len(l.args) > 0 {
		return nil, unknownCommand(l.path, l.args[0])
	}
	if i := slices.IndexFunc(l.flags, func(f givenFlag) bool { return !owns(last, f.name) }); acceptable && i >= 0 {
		return nil, exit.With(exit.Usage, fmt.Errorf("--%s is a flag of other commands: name one of them; see %s --help", l.flags[i].name, l.name()))
	}
	if err := l.checkValues(); err != nil {
		return nil, err
	}
	arranged := l.commandAndFlags(words[0])
	// A flag without its value must be the last word; otherwise "--" would be its value.
	if len(l.args) > 0 && acceptable {
		arranged = append(append(arranged, "--"), l.args...)
	}
	return arranged, nil
}

// arrangeCompletion is arrange for a line that a shell completes. ask is false if the
// line has a "--", after which nothing is completed.
func arrangeCompletion(root *cli.Command, words []string) (arranged []string, ask bool) {
	l := read(root, words[1:len(words)-1])
	return slices.Concat(l.commandAndFlags(words[0]), l.args, []string{completionFlag}), !l.ended
}

func (l line) commandAndFlags(program string) []string {
	arranged := []string{program}
	for _, command := range l.path[1:] {
		arranged = append(arranged, command.Name)
	}
	for _, f := range l.flags {
		arranged = append(arranged, f.words...)
	}
	return arranged
}

func read(root *cli.Command, words []string) line {
	l := line{path: []*cli.Command{root}}
	for len(words) > 0 {
		last, word := l.path[len(l.path)-1], words[0]
		switch {
		case !l.ended && word == "--":
			l.ended, words = true, words[1:]
		case !l.ended && isFlag(word):
			f := readFlag(last, words)
			f.first = len(l.path) == 1 && len(l.args) == 0
			l.flags, words = append(l.flags, f), words[len(f.words):]
		case len(l.args) == 0 && last.Command(word) != nil:
			l.path, words = append(l.path, last.Command(word)), words[1:]
		default:
			l.args, words = append(l.args, word), words[1:]
		}
	}
	return l
}

// isFlag reports whether a word is a flag. A negative amount isn't.
func isFlag(word string) bool {
	return len(word) > 1 && word[0] == '-' && !strings.ContainsAny(word[1:2], "$0123456789.")
}

// readFlag parses the flag at the first word. It may belong to a command that is named
// later on the line.
func readFlag(command *cli.Command, words []string) givenFlag {
	name := strings.TrimPrefix(strings.TrimPrefix(words[0], "-"), "-")
	name, value, inline := strings.Cut(name, "=")
	f := givenFlag{name: name, words: words[:1], value: value, whole: true}
	switch {
	case inline:
	case !takesValue(command, name):
		f.value = "true"
	case len(words) > 1:
		f.words, f.value = words[:2], words[1]
	default:
		f.whole = false
	}
	return f
}

// ownFlag returns the command's own flag of that name, or nil.
func ownFlag(command *cli.Command, name string) cli.Flag {
	i := slices.IndexFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return command.Flags[i]
}

// flagOf returns the flag of that name of the command or of one below it, or nil.
func flagOf(command *cli.Command, name string) cli.Flag {
	if f := ownFlag(command, name); f != nil {
		return f
	}
	for _, below := range command.Subcommands {
		if f := flagOf(below, name); f != nil {
			return f
		}
	}
	return nil
}

// takesValue reports whether a flag takes a value. Flags of the same name agree in this,
// which a test checks for all commands.
func takesValue(command *cli.Command, name string) bool {
	f, ok := flagOf(command, name).(cli.DocGenerationFlag)
	return ok && f.TakesValue()
}

func known(command *cli.Command, name string) bool {
	return slices.Contains(cli.HelpFlag.Names(), name) || flagOf(command, name) != nil
}

func owns(command *cli.Command, name string) bool {
	return slices.Contains(cli.HelpFlag.Names(), name) || ownFlag(command, name) != nil
}

func (f givenFlag) asksHelp() bool {
	return f.value == "true" && slices.Contains(cli.HelpFlag.Names(), f.name)
}

// asksVersion reports whether a flag is short for the version command.
func (f givenFlag) asksVersion() bool {
	return f.first && f.value == "true" && slices.Contains(versionFlag.Names(), f.name)
}

// checkValues returns an error for the first value that its flag rejects, with a more
// helpful message than the parser's.
func (l line) checkValues() error {
	last := l.path[len(l.path)-1]
	for _, given := range l.flags {
		f := ownFlag(last, given.name)
		if f == nil || !given.whole {
			continue
		}
		set := flag.NewFlagSet("", flag.ContinueOnError)
		if err := f.Apply(set); err != nil {
			return exit.With(exit.Usage, err)
		}
		if err := set.Set(given.name, given.value); err != nil {
			return exit.With(exit.Usage, fmt.Errorf("--%s %q: %s; see %s --help", given.name, given.value, remedyOf(f, err), l.name()))
		}
	}
	return nil
}

// aDuration describes a valid duration, for errors and help.
const aDuration = "a duration such as 90s or 15m"

// remedyOf returns the values that a flag accepts, for the error about a rejected one.
func remedyOf(f cli.Flag, err error) string {
	switch f.(type) {
	case *cli.DurationFlag:
		return "give " + aDuration
	case *cli.BoolFlag:
		return "give true or false, or leave the value out"
	case *cli.Float64Flag:
		return err.Error() + ": give a number"
	default:
		return err.Error() + ": give a whole number"
	}
}

// name returns the full name of the command, such as "bursar tenant show".
func (l line) name() string { return strings.Join(namesOf(l.path), " ") }

func namesOf(path []*cli.Command) []string {
	names := make([]string, len(path))
	for i, command := range path {
		names[i] = command.Name
	}
	return names
}
