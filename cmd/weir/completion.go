package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

const completionHelp = `usage: weir completion bash|zsh|fish

Prints what has a shell complete weir's commands and flags.

examples:
  weir completion bash >/etc/bash_completion.d/weir
  weir completion zsh >/usr/local/share/zsh/site-functions/_weir
  weir completion fish >/etc/fish/completions/weir.fish
`

// shells are those that completion is for.
var shells = []string{"bash", "zsh", "fish"}

func runCompletion(_ context.Context, args []string, std stdio) error {
	set := newFlagSet("completion")
	if err := parseFlags(set, args, completionHelp, std); err != nil {
		return err
	}
	switch set.Arg(0) {
	case "bash":
		bashCompletion(std.out)
	case "zsh":
		zshCompletion(std.out)
	case "fish":
		fishCompletion(std.out)
	default:
		return usagef("completion is for a shell: give bash, zsh or fish")
	}
	return nil
}

// bashCompletion prints a function for bash; where it has nothing, bash completes files.
func bashCompletion(w io.Writer) {
	var names, values, words strings.Builder
	for _, c := range listedCommands() {
		names.WriteString(" " + c.name)
		fmt.Fprintf(&words, "\t%s) words=%s ;;\n", c.name, bashQuote(strings.Join(append(dashed(flagsOf(c)), argumentsOf(c.name)), " ")))
		for _, f := range flagsOf(c) {
			if f.value != "" {
				fmt.Fprintf(&values, "\t'%s -%s') words=%s; takes=1 ;;\n", c.name, f.name, bashQuote(flagValues[f.name]))
			}
		}
	}
	fmt.Fprintf(w, `# bash completion for weir; made by "weir completion bash"
_weir() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} words= takes=
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W %s -- "$cur"))
		return
	fi
	case "$cmd $prev" in
%s	esac
	if [ -z "$takes" ]; then
		case $cmd in
%s		esac
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _weir weir
`, bashQuote(names.String()[1:]), values.String(), strings.ReplaceAll(words.String(), "\t", "\t\t"))
}

func dashed(flags []flagInfo) (names []string) {
	for _, f := range flags {
		names = append(names, "-"+f.name)
	}
	return names
}

// bashQuote quotes for shells.
func bashQuote(s string) string {
	return "'" + strings.ReplaceAll(strings.TrimSpace(s), "'", `'\''`) + "'"
}

// zshCompletion prints a completion function for zsh.
func zshCompletion(w io.Writer) {
	fmt.Fprint(w, "#compdef weir\n# made by \"weir completion zsh\"\n_weir() {\n\tif (( CURRENT == 2 )); then\n\t\tlocal -a commands=(\n")
	for _, c := range listedCommands() {
		fmt.Fprintf(w, "\t\t\t%s\n", bashQuote(c.name+":"+strings.ReplaceAll(c.summary, ":", `\:`)))
	}
	fmt.Fprint(w, "\t\t)\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal command=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $command in\n")
	for _, c := range listedCommands() {
		fmt.Fprintf(w, "\t%s)\n\t\t_arguments", c.name)
		for _, f := range flagsOf(c) {
			fmt.Fprintf(w, " \\\n\t\t\t%s", bashQuote(zshFlag(f)))
		}
		if words := argumentsOf(c.name); words != "" {
			fmt.Fprintf(w, " \\\n\t\t\t%s", bashQuote("1:argument:("+words+")"))
		} else {
			fmt.Fprint(w, " \\\n\t\t\t'*:file:_files'")
		}
		fmt.Fprint(w, "\n\t\t;;\n")
	}
	fmt.Fprint(w, "\tesac\n}\n_weir \"$@\"\n")
}

func zshFlag(f flagInfo) string {
	spec := "-" + f.name + "[" + strings.NewReplacer("[", `\[`, "]", `\]`, `\`, `\\`, ":", `\:`).Replace(f.about) + "]"
	values := flagValues[f.name]
	switch {
	case f.value == "":
		return spec
	case values != "":
		return spec + ":" + f.value + ":(" + values + ")"
	}
	return spec + ":" + strings.ReplaceAll(f.value, ":", `\:`) + ":_files"
}

// fishCompletion prints commands for fish. It writes flags with one dash as old-style ones.
func fishCompletion(w io.Writer) {
	fmt.Fprint(w, "# fish completion for weir; made by \"weir completion fish\"\n")
	for _, c := range listedCommands() {
		fmt.Fprintf(w, "complete -c weir -n __fish_use_subcommand -f -a %s -d %s\n", c.name, fishQuote(c.summary))
		seen := fishQuote("__fish_seen_subcommand_from " + c.name)
		for _, f := range flagsOf(c) {
			fmt.Fprintf(w, "complete -c weir -n %s -o %s", seen, f.name)
			if values := flagValues[f.name]; values != "" {
				fmt.Fprintf(w, " -x -a %s", fishQuote(values))
			} else if f.value != "" {
				fmt.Fprint(w, " -r")
			}
			fmt.Fprintf(w, " -d %s\n", fishQuote(f.about))
		}
		if words := argumentsOf(c.name); words != "" {
			fmt.Fprintf(w, "complete -c weir -n %s -f -a %s\n", seen, fishQuote(words))
		}
	}
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
