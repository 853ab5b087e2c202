package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/luascripts"
)

// versionFlag is short for the version command.
var versionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version, as bursar version does"}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version, and the storage layout that it reads",
		Flags: []cli.Flag{jsonFlag}, Action: printing(version),
	}
}

// build is the JSON form of the version.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Changed  bool   `json:"changed,omitempty"` // built from a modified tree
	Go       string `json:"go"`
	Layout   int    `json:"layout"`
}

func version(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	b := build{Version: "(devel)", Go: runtime.Version(), Layout: luascripts.Layout}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Changed = s.Value == "true"
			}
		}
	}
	return out.show(cc, b, func(w io.Writer) {
		fmt.Fprintf(w, "bursar %s", b.Version)
		if b.Revision != "" {
			fmt.Fprintf(w, " (commit %s)", b.Revision)
		}
		fmt.Fprintf(w, ", %s, storage layout %d\n", b.Go, b.Layout)
	})
}
