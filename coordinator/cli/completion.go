package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// The scripts run the command with completionFlag to list the candidates. The script for
// fish is a static list, which urfave/cli generates.
const (
	bashCompletion = `_bursar() {
	local current=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:COMP_CWORD}") flag=()
	[[ $current == -* ]] && flag=("${current/#--/-}") # -- alone would end the flags
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" "${flag[@]}" --generate-bash-completion 2>/dev/null)" -- "$current")
}
complete -o bashdefault -o default -F _bursar bursar
`
	zshCompletion = `#compdef bursar
_bursar() {
	local -a answers
	local current=${words[-1]}
	if [[ $current == -* ]]; then
		answers=("${(@f)$(${words[@]:0:#words[@]-1} ${current/#--/-} --generate-bash-completion 2>/dev/null)}")
	else
		answers=("${(@f)$(${words[@]:0:#words[@]-1} --generate-bash-completion 2>/dev/null)}")
	fi
	if [[ -n ${answers[1]} ]]; then
		_describe 'values' answers
	else
		_files
	fi
}
compdef _bursar bursar
`
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a shell completion script", ArgsUsage: "bash|zsh|fish",
		Description: "Load it now, or from the shell's start-up file:\n\n  source <(bursar completion bash)\n  source <(bursar completion zsh)\n  bursar completion fish | source",
		Action:      printing(completion),
		BashComplete: func(cc *cli.Context) {
			for _, shell := range []string{"bash", "zsh", "fish"} {
				fmt.Fprintln(cc.App.Writer, shell)
			}
		},
	}
}

func completion(cc *cli.Context, out *output) error {
	given, err := arguments(cc, "bash|zsh|fish")
	if err != nil {
		return err
	}
	var script string
	switch given[0] {
	case "bash":
		script = bashCompletion
	case "zsh":
		script = zshCompletion
	case "fish":
		app := *cc.App
		app.Commands = slices.Clone(app.Commands)
		script, err = app.ToFishCompletion()
	default:
		err = exit.With(exit.Usage, fmt.Errorf("no completion for %q: give bash, zsh or fish", given[0]))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, script)
	return err
}
