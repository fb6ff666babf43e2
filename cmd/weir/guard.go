package main

import (
	"context"
	"os/exec"

	"weir/fuse"
)

// guardName is the hidden command of the process that weir mount starts beside itself (see package fuse).
const guardName = "guard"

// guardCommand is this very program, also where its file has been replaced since.
func guardCommand() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", guardName)
	cmd.Args[0] = "weir"
	return cmd
}

func runGuard(_ context.Context, args []string, _ stdio) error {
	if len(args) > 0 {
		return usagef("%s is weir mount's own", guardName)
	}
	return fuse.RunGuard()
}
