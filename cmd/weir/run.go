package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Exit codes; see the package comment.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitNot     = 3
)

// stdio is what a command reads and writes. in is a file, for a command that is started inherits it.
type stdio struct {
	in       *os.File
	out, err io.Writer

	flags func(*flag.FlagSet) // where set, parseFlags shows it the flags, and parses none
}

// subcommand is one word after "weir".
type subcommand struct {
	name    string
	summary string // for the list; empty: not listed
	help    string // what "weir help NAME" prints above the flags
	run     func(ctx context.Context, args []string, io stdio) error
}

func subcommands() []subcommand {
	return []subcommand{
		{"mount", "mount the databases and replicate them, until a signal comes", mountHelp, runMount},
		{"demo", "run a primary and a replica on this machine and watch them", demoHelp, runDemo},
		{"status", "print the state of each database, and who follows it", statusHelp, runStatus},
		{"snapshot", "copy a live database", snapshotHelp, runSnapshot},
		{"log", "list or export the transactions of a database", logHelp, runLog},
		{"restore", "build a database as it was", restoreHelp, runRestore},
		{"wait", "wait until a replica has a transaction", waitHelp, runWait},
		{"verify", "compare a replica with its upstream, page by page", verifyHelp, runVerify},
		{"config", "check a configuration", configHelp, runConfig},
		{"version", "print the version", versionHelp, runVersion},
		{"completion", "print the completion for a shell", completionHelp, runCompletion},
		{"man", "print the manual page", manHelp, runMan},
		{"bench", "measure what weir costs on this disk", benchHelp, runBench},
		{guardName, "", "", runGuard},
		{workerName, "", "", runWorker},
		{benchWorkerName, "", "", runBenchWorkerJob},
		{benchFloorName, "", "", runBenchFloor},
	}
}

// hinted is an error together with what to do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func hint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError ends weir with a code of its own; err may be nil, then nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d: %v", e.code, e.err) }

func (e *exitError) Unwrap() error { return e.err }

// exit is the error for an end with code; code 0 leaves the choice to err.
func exit(code int, err error) error {
	if code == 0 {
		return err
	}
	return &exitError{code, err}
}

// run is weir without the process around it: it returns the exit code.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	std := stdio{in: stdin, out: stdout, err: stderr}
	if len(args) == 0 {
		printUsage(stderr)
		return exitUsage
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return report(runHelp(rest, std), stderr, "")
	case "-version", "--version":
		name = "version"
	}
	for _, c := range subcommands() {
		if c.name == name {
			return report(c.run(ctx, rest, std), stderr, name)
		}
	}
	return report(usagef("there is no command %q", name), stderr, "")
}

// report prints err, if any, and returns the exit code that it stands for.
func report(err error, w io.Writer, command string) int {
	var (
		coded *exitError
		usage usageError
		hint  *hinted
		code  = exitFailure
	)
	if errors.As(err, &coded) {
		code, err = coded.code, coded.err
	} else if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		printError(w, err)
	}
	if errors.As(err, &hint) {
		fmt.Fprintln(w, "hint:", hint.hint)
	}
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "hint: run %q\n", strings.TrimSpace("weir help "+command))
		return exitUsage
	}
	return code
}

// printError prints each line of err with weir's name, but for those that continue one.
func printError(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(line, "\t") {
			line = "weir: " + line
		}
		fmt.Fprintln(w, line)
	}
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "Weir replicates SQLite databases live to read-only mounts on other machines.\n\nusage: weir COMMAND [FLAGS] [ARGUMENTS]\n\n")
	for _, c := range listedCommands() {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nexit codes: "+exitHelp)
}

func runHelp(args []string, std stdio) error {
	if len(args) == 0 {
		printUsage(std.out)
		return nil
	}
	for _, c := range listedCommands() {
		if c.name == args[0] {
			fmt.Fprint(std.out, c.help)
			return nil
		}
	}
	return usagef("there is no command %q", args[0])
}

// newFlagSet returns a flag set whose mistakes are errors; parseFlags prints them and the help.
func newFlagSet(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parseFlags parses args. For -h it prints help to standard output and returns flag.ErrHelp.
func parseFlags(fs *flag.FlagSet, args []string, help string, std stdio) error {
	if std.flags != nil {
		std.flags(fs)
		return flag.ErrHelp
	}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, help)
		return err
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

const versionHelp = `usage: weir version

Prints the version, the commit, and the version of Go that it was built with.
`

func runVersion(_ context.Context, args []string, std stdio) error {
	set := newFlagSet("version")
	if err := parseFlags(set, args, versionHelp, std); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return usagef("version takes no arguments, got %q", set.Arg(0))
	}
	fmt.Fprintf(std.out, "weir %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version is the module's version, with the commit where the build recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
			v += " " + s.Value[:12]
		}
	}
	return v
}
