package cli

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Every page of help is made here, whichever command it is of.
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

// usages are the forms of a command, or of the program.
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
	case len(command.VisibleFlags()) == 1: // that of help
		return []string{below}
	default:
		return []string{own, below}
	}
}

// group is flags under a heading.
type group struct {
	Name  string
	Flags []cli.Flag
}

// groups puts flags under the headings of their categories, in the order in which they
// are declared.
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

// describe is a flag's line of help: its names, what it does, its default unless that is
// none, its variables.
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
	if preset != "" && preset != "0" && preset != "0s" { // a flag whose 0 is worth a word has a DefaultText
		usage += " (default: " + preset + ")"
	}
	return cli.FlagEnvHinter(d.GetEnvVars(), fmt.Sprintf("%s\t%s", cli.FlagNamePrefixer(d.Names(), valueName), usage))
}

// helpCommand is `bursar help`, and `bursar tenant help` for the commands below.
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
