package cli

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// All commands share one help template and one format of flags.
func init() {
	cli.AppHelpTemplate, cli.CommandHelpTemplate, cli.SubcommandHelpTemplate = helpTemplate, helpTemplate, helpTemplate
	cli.HelpPrinter = func(w io.Writer, template string, page any) {
		cli.HelpPrinterCustom(w, template, page, map[string]any{"usages": usages, "groups": groups})
	}
	cli.FlagStringer = describe
}

const helpTemplate = `NAME:
   {{template "helpNameTemplate" .}}

USAGE:{{range usages .}}
   {{.}}{{end}}{{if .Description}}

DESCRIPTION:
   {{template "descriptionTemplate" .}}{{end}}{{if .VisibleCommands}}

COMMANDS:{{template "visibleCommandTemplate" .}}{{end}}{{range groups .VisibleFlags}}

{{.Name}}:{{range .Flags}}
   {{.}}{{end}}{{end}}
`

// usages returns the usage lines of a command, or of the program.
func usages(page any) []string {
	command, is := page.(*cli.Command)
	if !is {
		return []string{"bursar COMMAND [options] [arguments]"}
	}
	own := strings.TrimSpace(command.HelpName + " [options] " + command.ArgsUsage)
	below := command.HelpName + " COMMAND [options] [arguments]"
	switch {
	case len(command.VisibleCommands()) == 0:
		return []string{own}
	case len(command.VisibleFlags()) == 1: // only --help
		return []string{below}
	default:
		return []string{own, below}
	}
}

// group is a heading with its flags.
type group struct {
	Name  string
	Flags []cli.Flag
}

// groups returns the flags by category, in the order of their declaration.
func groups(flags []cli.Flag) []group {
	all := []group{{Name: "OPTIONS"}}
	for _, f := range flags {
		name := all[0].Name
		if c, is := f.(cli.CategorizableFlag); is && c.GetCategory() != "" {
			name = strings.ToUpper(c.GetCategory()) + " OPTIONS"
		}
		i := slices.IndexFunc(all, func(g group) bool { return g.Name == name })
		if i < 0 {
			i, all = len(all), append(all, group{Name: name})
		}
		all[i].Flags = append(all[i].Flags, f)
	}
	return all
}

// describe returns the help line of a flag: its names, usage, default unless that is
// empty or zero, and environment variables.
func describe(f cli.Flag) string {
	d, is := f.(cli.DocGenerationFlag)
	if !is {
		return ""
	}
	valueName, usage := flag.UnquoteUsage(&flag.Flag{Usage: d.GetUsage()})
	preset := d.GetDefaultText()
	switch f.(type) {
	case *cli.BoolFlag:
		valueName, preset = "", ""
	case *cli.DurationFlag:
		valueName, usage = "DURATION", usage+"; "+aDuration
	case *cli.IntFlag, *cli.Int64Flag, *cli.Uint64Flag, *cli.Float64Flag:
		if valueName == "value" {
			valueName = "N"
		}
	}
	if preset != "" && preset != "0" && preset != "0s" { // a zero default that matters is in DefaultText
		usage += " (default: " + preset + ")"
	}
	return cli.FlagEnvHinter(d.GetEnvVars(), fmt.Sprintf("%s\t%s", cli.FlagNamePrefixer(d.Names(), valueName), usage))
}

// helpCommand returns the help command below the last of above, as `bursar tenant help`.
func helpCommand(above []*cli.Command, hidden bool) *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "show how a command is used", ArgsUsage: "[COMMAND…]", Hidden: hidden,
		HideHelpCommand: true, OnUsageError: usageError,
		Action: func(cc *cli.Context) error {
			path := slices.Clone(above)
			for _, word := range cc.Args().Slice() {
				next := path[len(path)-1].Command(word)
				if next == nil {
					return unknownCommand(path, word)
				}
				path = append(path, next)
			}
			return cc.App.RunContext(cc.Context, append(namesOf(path), "--help"))
		},
		BashComplete: func(cc *cli.Context) {
			path := read(above[0], append(namesOf(above)[1:], cc.Args().Slice()...)).path
			for _, command := range path[len(path)-1].Subcommands {
				if !command.Hidden {
					fmt.Fprintln(cc.App.Writer, command.Name)
				}
			}
		},
	}
}
