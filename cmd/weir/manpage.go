package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

const manHelp = `usage: weir man

Prints weir's manual page, which has the help of all commands.

examples:
  weir man >/usr/local/share/man/man8/weir.8
  weir man | man -l -
`

// exitHelp says what exit codes mean.
const exitHelp = `0 done; 1 something failed; 2 wrong usage; 3 what was asked about does not hold: a database is not healthy (weir status), a
transaction has not come in time (weir wait), pages differ (weir verify). weir mount ... -- CMD ends with CMD's exit code,
128+n where signal n killed it, 126 where it can't be run and 127 where it is not found, as a shell does.
`

func runMan(_ context.Context, args []string, std stdio) error {
	set := newFlagSet("man")
	if err := parseFlags(set, args, manHelp, std); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return usagef("man takes no arguments, got %q", set.Arg(0))
	}
	manPage(std.out)
	return nil
}

// manPage prints the page in the language of man(7).
func manPage(w io.Writer) {
	fmt.Fprint(w, `.TH WEIR 8 "" "weir" "System administration"
.SH NAME
weir \- live read replication for SQLite
.SH SYNOPSIS
.B weir
.I COMMAND
.RI [ FLAGS ]
.RI [ ARGUMENTS ]
.SH DESCRIPTION
Weir replicates SQLite databases live. It mounts over the directory of a database, captures every transaction that SQLite
commits there, and streams it over HTTP to other machines, where the same database appears in a read\-only mount.
.SH COMMANDS
`)
	for _, c := range listedCommands() {
		fmt.Fprintf(w, ".SS weir %s\n%s.\n", roff(c.name), roff(c.summary))
		for block := range strings.SplitSeq(strings.TrimSpace(c.help), "\n\n") {
			manBlock(w, block)
		}
	}
	fmt.Fprintf(w, ".SH EXIT STATUS\n%s.SH FILES\n.TP\n.I %s\nthe configuration, where neither \\-config nor $WEIR_CONFIG names another\n", roffLines(exitHelp), defaultConfigPath)
	fmt.Fprint(w, ".TP\n.I .weir\nbeside each database, below the mount: the log and what else weir keeps\n.SH ENVIRONMENT\n")
	fmt.Fprint(w, ".TP\n.B WEIR_CONFIG\nthe configuration\n.TP\n.B WEIR_PASSTHROUGH\nas \\-passthrough\n")
}

// manBlock prints what stands between two empty lines of a help text.
func manBlock(w io.Writer, block string) {
	first, rest, _ := strings.Cut(block, "\n")
	switch {
	case strings.HasPrefix(block, "usage:"):
		fmt.Fprintf(w, ".PP\n.nf\n%s.fi\n", roffLines(strings.ReplaceAll(block, "\n       ", "\n")[len("usage: "):]))
	case strings.HasPrefix(block, "example"):
		fmt.Fprintf(w, ".PP\n%s\n.PP\n.nf\n.RS\n%s.RE\n.fi\n", roff(first), roffLines(strings.ReplaceAll("\n"+rest, "\n  ", "\n")[1:]))
	case flagLine.MatchString(first):
		manFlags(w, block)
	default:
		fmt.Fprintf(w, ".PP\n%s", roffLines(block))
	}
}

// manFlags prints the flags in the order in which the help has them.
func manFlags(w io.Writer, block string) {
	described := describedFlags(block)
	for line := range strings.Lines(block) {
		m := flagLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		fmt.Fprintf(w, ".TP\n.B \\-%s", roff(m[1]))
		if m[2] != "" {
			fmt.Fprintf(w, " \\fI%s\\fR", roff(m[2]))
		}
		fmt.Fprintf(w, "\n%s\n", roff(described[m[1]].about))
	}
}

// roffLines escapes lines, each with its end.
func roffLines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSuffix(s, "\n") + "\n") {
		b.WriteString(roff(line))
	}
	return b.String()
}

// roff escapes what a line of text has that means something else there.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
