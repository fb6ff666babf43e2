package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every flag of every command is in its help text, with what it is for, and nothing else is.
func TestFlagsAreDescribed(t *testing.T) {
	flags := 0
	for _, c := range listedCommands() {
		described := describedFlags(c.help)
		for _, f := range flagsOf(c) {
			flags++
			if d, ok := described[f.name]; !ok || d.about == "" || d.value != f.value {
				t.Errorf("weir %s -%s: the help has %+v, the flags have %+v", c.name, f.name, d, f)
			}
			delete(described, f.name)
		}
		for name := range described {
			t.Errorf("weir help %s has -%s, which the command has not", c.name, name)
		}
	}
	if flags < 20 {
		t.Errorf("got %d flags of all commands", flags)
	}
}

// printed writes what weir prints to a file, and returns its name.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	code, out, stderr := runHere(t, args...)
	if code != 0 {
		t.Fatalf("weir %q: exit code %d, %s", args, code, stderr)
	}
	file := filepath.Join(t.TempDir(), "printed")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bash takes the completion, and completes by it.
func TestBashCompletion(t *testing.T) {
	file := printed(t, "completion", "bash")
	for line, want := range map[string]string{
		"weir ":                  "mount demo status snapshot log restore wait verify config version completion man bench help",
		"weir sn":                "snapshot",
		"weir mount -pa":         "-passthrough",
		"weir mount -log-level ": "debug info warn error",
		"weir mount -config ":    "",
		"weir config ":           "-config -no-expand-env check",
		"weir completion z":      "zsh",
		"weir help re":           "restore",
		"weir wait -n":           "-now",
	} {
		words := strings.Split(line, " ")
		script := fmt.Sprintf("set -u; . %s; COMP_WORDS=(%s); COMP_CWORD=%d; _weir; echo ${COMPREPLY[*]-}", file, bashWords(words), len(words)-1)
		if got := mustCommand(t, "bash", "-c", script); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func bashWords(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, bashQuote(w))
	}
	return strings.Join(quoted, " ")
}

// Other shells, where the machine has them, find nothing wrong with theirs.
func TestCompletionSyntax(t *testing.T) {
	for _, shell := range shells {
		file := printed(t, "completion", shell)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"snapshot", "passthrough", "no-expand-env"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: got nothing of %q", shell, want)
			}
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("%s is not here: its syntax was not checked", shell)
			continue
		}
		mustCommand(t, shell, "-n", file)
	}
}

// The manual page has all commands and flags, and man, where the machine has it, no complaint.
func TestManPage(t *testing.T) {
	file := printed(t, "man")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range listedCommands() {
		if !strings.Contains(string(text), "\n.SS weir "+c.name+"\n") {
			t.Errorf("got nothing of weir %s", c.name)
		}
		for _, f := range flagsOf(c) {
			if !strings.Contains(string(text), "\n.B \\-"+roff(f.name)) {
				t.Errorf("got nothing of weir %s -%s", c.name, f.name)
			}
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Log("groff is not here: the page was not checked by it")
		return
	}
	out := mustCommand(t, "groff", "-man", "-Tutf8", "-ww", "-z", file)
	if out != "" {
		t.Errorf("got %q", out)
	}
	shown := mustCommand(t, "groff", "-man", "-Tutf8", "-P-cbou", file)
	plain := strings.NewReplacer("\u2010", "-", "\u2212", "-").Replace(shown) // as the machine's groff is set up
	for _, want := range []string{"SYNOPSIS", "weir mount -upstream http://primary:9090 /data/db", "-no-expand-env", "EXIT STATUS"} {
		if !slices.ContainsFunc(strings.Split(plain, "\n"), func(line string) bool { return strings.TrimSpace(line) == want }) {
			t.Errorf("got no line %q in %s", want, plain)
		}
	}
}
