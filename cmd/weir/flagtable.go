package main

import (
	"context"
	"flag"
	"regexp"
	"strings"
)

// flagInfo is a flag of a command, as its flag set and its help text have it.
type flagInfo struct {
	name  string
	value string // what is given with it, as in FILE; "" for a switch
	about string // one line
}

// flagsOf returns a command's flags, by name. They are the ones that its flag set has when it is about to parse them.
func flagsOf(c subcommand) (flags []flagInfo) {
	about := describedFlags(c.help)
	std := stdio{flags: func(set *flag.FlagSet) {
		set.VisitAll(func(f *flag.Flag) {
			info := about[f.Name]
			info.name = f.Name
			if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
				info.value = ""
			} else if info.value == "" {
				info.value = "VALUE"
			}
			flags = append(flags, info)
		})
	}}
	c.run(context.Background(), []string{"-h"}, std) // ends as it would parse its flags
	return flags
}

// flagLine is a line of a help text that describes a flag: "  -config FILE   about it".
var flagLine = regexp.MustCompile(`^  -([a-z-]+)(?: ([A-Z:]+))? +(.*)$`)

// describedFlags reads the flags from a help text, by name.
func describedFlags(help string) map[string]flagInfo {
	described := make(map[string]flagInfo)
	var last string
	for line := range strings.Lines(help) {
		line = strings.TrimSuffix(line, "\n")
		if m := flagLine.FindStringSubmatch(line); m != nil {
			last = m[1]
			described[last] = flagInfo{name: last, value: m[2], about: m[3]}
		} else if rest := strings.TrimLeft(line, " "); last != "" && len(line)-len(rest) > 4 {
			info := described[last]
			info.about += " " + rest
			described[last] = info
		} else {
			last = ""
		}
	}
	return described
}

// flagValues are the values of flags that have few.
var flagValues = map[string]string{
	"passthrough": "auto on off",
	"log-format":  "text json",
	"log-level":   "debug info warn error",
}

// argumentsOf are the words that a command takes, but for files.
func argumentsOf(name string) string {
	switch name {
	case "completion":
		return strings.Join(shells, " ")
	case "config":
		return "check"
	case "help":
		var names []string
		for _, c := range listedCommands() {
			names = append(names, c.name)
		}
		return strings.Join(names, " ")
	}
	return ""
}

// listedCommands are those that users are told of.
func listedCommands() (listed []subcommand) {
	for _, c := range subcommands() {
		if c.summary != "" {
			listed = append(listed, c)
		}
	}
	return append(listed, subcommand{name: "help", summary: "print this, or with a command its help", help: "usage: weir help [COMMAND]\n", run: func(context.Context, []string, stdio) error { return nil }})
}
