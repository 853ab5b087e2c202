package cli

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// page returns the output of a command line, which must print only on stdout and exit
// with 0.
func page(t *testing.T, words ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	code := Run(t.Context(), append([]string{"bursar"}, words...), &stdout, &stderr, bench.Command())
	if code != exit.Done || stderr.Len() > 0 || stdout.Len() == 0 {
		t.Fatalf("%q: code %d, stdout %q, stderr %q", words, code, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// commands returns all commands but help by their paths, with the program itself as "".
func commands() map[string]*cli.Command {
	app := newApp(io.Discard, io.Discard, bench.Command())
	all := map[string]*cli.Command{"": {Flags: app.Flags, Subcommands: app.Commands}}
	each(app.Commands, nil, func(path []string, command *cli.Command) {
		if command.Name != "help" {
			all[strings.Join(path, " ")] = command
		}
	})
	return all
}

func TestWaysToAskForHelp(t *testing.T) {
	for path, command := range commands() {
		words := strings.Fields(path)
		want := page(t, append(words, "--help")...)
		if !strings.HasPrefix(want, "NAME:\n   "+strings.TrimSpace("bursar "+path)+" - ") {
			t.Errorf("%s: the page begins with %.80q", path, want)
		}
		ways := [][]string{
			append(slices.Clone(words), "-h"), append(slices.Clone(words), "-help"),
			append([]string{"--help"}, words...), append([]string{"help"}, words...),
		}
		if len(command.Subcommands) == 0 {
			ways = append(ways, append(slices.Clone(words), "acme", "-h", "--", "x"), append(slices.Clone(words), "--unknown", "-h"))
		} else {
			ways = append(ways, append(slices.Clone(words), "help"))
		}
		if len(words) == 2 {
			ways = append(ways, []string{words[0], "help", words[1]}, []string{words[0], "-h", words[1]})
		}
		for _, way := range ways {
			if got := page(t, way...); got != want {
				t.Errorf("%q prints another page than %s --help:\n%s", way, path, got)
			}
		}
	}
	if page(t) != page(t, "--help") || page(t, "tenant") != page(t, "tenant", "-h") {
		t.Error("without a command there is another page")
	}
}

var connection = func() (names []string) {
	for _, f := range append(connect.Flags(), timeoutFlag) {
		names = append(names, f.Names()[0])
	}
	return append(names, "share-prefix", partitionsName)
}()

// Each flag is listed once on its command's page, with at most one default, or none for a
// switch. The flags of the connection have a heading of their own.
func TestHelpOfFlags(t *testing.T) {
	for path, command := range commands() {
		text := page(t, append(strings.Fields(path), "--help")...)
		own, connecting, _ := strings.Cut(text, "\nCONNECTION OPTIONS:\n")
		_, own, _ = strings.Cut(own, "\nOPTIONS:\n")
		for _, f := range append(slices.Clone(command.Flags), cli.HelpFlag) {
			name := f.Names()[0]
			here, elsewhere := own, connecting
			if slices.Contains(connection, name) {
				here, elsewhere = connecting, own
			}
			lines := regexp.MustCompile(`(?m)^   --`+name+`[, ].*$`).FindAllString(here, -1)
			if len(lines) != 1 || strings.Contains(elsewhere, "\n   --"+name+" ") {
				t.Errorf("%s: --%s has the lines %q", path, name, lines)
				continue
			}
			_, isSwitch := f.(*cli.BoolFlag)
			_, isDuration := f.(*cli.DurationFlag)
			defaults := strings.Count(lines[0], "default")
			if defaults > 1 || isSwitch && defaults > 0 || strings.Contains(lines[0], "`") || isDuration != strings.Contains(lines[0], aDuration) {
				t.Errorf("%s: %s", path, lines[0])
			}
		}
	}
}

// The error for an unknown command names it, and suggests one with a similar name.
func TestHelpOfAnUnknownCommand(t *testing.T) {
	for line, want := range map[string]string{
		"help tennant":       `bursar: no command is named "tennant"; did you mean bursar tenant?; see bursar --help`,
		"help tenant shw":    `bursar: bursar tenant has no command named "shw"; did you mean bursar tenant show?; see bursar tenant --help`,
		"tenant help shw":    `bursar: bursar tenant has no command named "shw"; did you mean bursar tenant show?; see bursar tenant --help`,
		"help reserve acme":  `bursar: bursar reserve has no command named "acme"; see bursar reserve --help`,
		"tennant --help":     `bursar: no command is named "tennant"; did you mean bursar tenant?; see bursar --help`,
		"help --json tenant": `bursar: flag provided but not defined: -json; write an argument that begins with a dash after --, or see bursar help --help`,
	} {
		var stdout, stderr strings.Builder
		code := Run(t.Context(), append([]string{"bursar"}, strings.Fields(line)...), &stdout, &stderr, bench.Command())
		if code != exit.Usage || stderr.String() != want+"\n" || stdout.Len() > 0 {
			t.Errorf("%s: code %d, %q%q; want %s", line, code, stdout.String(), stderr.String(), want)
		}
	}
}

func TestWaysToAskForTheVersion(t *testing.T) {
	want := page(t, "version")
	for _, way := range []string{"--version", "-v", "-version", "--version tenant show acme", "-v --"} {
		if got := page(t, strings.Fields(way)...); got != want {
			t.Errorf("%s prints %q", way, got)
		}
	}
	if got := page(t, "--version", "--json"); got != page(t, "version", "--json") {
		t.Errorf("as JSON it is %q", got)
	}
}
