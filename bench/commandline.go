package bench

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/wording"
)

// commandLine is what to type for the same run again. Of the Redis it says its
// name, because its URL may hold a password.
func commandLine(cc *cli.Context, redisName string) string {
	words := []string{"bursar", cc.Command.HelpName}
	if full := cc.Command.HelpName; strings.Contains(full, " ") {
		words = strings.Fields(full)
	}
	for _, flag := range cc.Command.Flags {
		name := flag.Names()[0]
		if !cc.IsSet(name) {
			continue
		}
		value := fmt.Sprint(cc.Value(name))
		if name == "redis" && value != scratch.Embedded && value != scratch.Spawn {
			value = redisName
		}
		words = append(words, "--"+name)
		if _, isBool := flag.(*cli.BoolFlag); !isBool {
			words = append(words, wording.Word(value))
		}
	}
	return strings.Join(words, " ")
}
