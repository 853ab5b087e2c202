package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// unknownCommand returns the error for a word that names no command below the last of
// path.
func unknownCommand(path []*cli.Command, word string) error {
	name := strings.Join(namesOf(path), " ")
	said := fmt.Sprintf("%s has no command named %q", name, word)
	if len(path) == 1 {
		said = fmt.Sprintf("no command is named %q", word)
	}
	if meant := suggestions(path, word); len(meant) > 0 {
		said += "; did you mean " + strings.Join(meant, " or ") + "?"
	}
	return exit.With(exit.Usage, fmt.Errorf("%s; see %s --help", said, name))
}

// suggestions returns the commands that a word may mean: the one below the last of path
// with the most similar name, or else all commands with exactly that name.
func suggestions(path []*cli.Command, word string) []string {
	last := path[len(path)-1]
	best, nearest := "", len(word) // with every letter mistyped it is another word
	for _, command := range last.Subcommands {
		distance := smetrics.WagnerFischer(word, command.Name, 1, 1, 1)
		if strings.HasPrefix(command.Name, word) {
			distance = 0
		}
		if !command.Hidden && distance <= maxTypos && distance < nearest {
			best, nearest = command.Name, distance
		}
	}
	if best != "" {
		return []string{strings.Join(append(namesOf(path), best), " ")}
	}
	return named(path[:1], word)
}

// maxTypos is the largest edit distance of a suggestion.
const maxTypos = 2

// named returns the full names of all commands of that name below the last of path.
func named(path []*cli.Command, name string) (found []string) {
	for _, command := range path[len(path)-1].Subcommands {
		here := append(path[:len(path):len(path)], command)
		if command.Name == name && !command.Hidden {
			found = append(found, strings.Join(namesOf(here), " "))
		}
		found = append(found, named(here, name)...)
	}
	return found
}
