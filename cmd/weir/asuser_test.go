package main

import (
	"flag"
	"os/exec"
	"strings"
	"testing"

	"weir/fuse/fusetest"
)

// asUser tells whether the tests run as a user without rights, who mounts through fusermount3.
func asUser() bool {
	_, is := fusetest.AsUser()
	return is
}

// commandAs runs args as a user, in a mount namespace of its own.
func commandAs(t *testing.T, u fusetest.User, args ...string) *exec.Cmd {
	t.Helper()
	line, err := u.Args(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(line...)
	cmd.Env = u.Env()
	return cmd
}

// asUserTests are those that need no rights but weir's.
var asUserTests = []string{
	"TestCommand", "TestCommandOnReplica", "TestSignalUnmounts", "TestUnmountWaitsForOpenFiles", "TestSecondSignalUnmountsLazily",
	"TestStaleMountIsReplaced", "TestFailedStart", "TestTwoWeirs", "TestSignalUnderLoad", "TestReplicaIsReadOnly", "TestClientsOnReplica",
	"TestEmptyReplica", "TestExistingDatabase", "TestReaderSeesCommittedStates", "TestLongReader", "TestRestart", "TestDirectory",
	"TestDirectoryRecursive", "TestDirectoryRestart", "TestDirectoryRename", "TestKilledUnderLoad", "TestStoppedUnderLoad",
	"TestVirtualFiles", "TestVerify", "TestSnapshotCommand", "TestConfigCheck", "TestStatusSays", "TestGuard", "TestStopWhileOpened",
	"TestStopWithWorkingDirectory", "TestOpenedInBetween", "TestHotJournals",
}

var asUserRun = flag.String("asuser.run", "", "run these tests in TestAsUser, by name, with commas")

// The same tests by a user without rights.
func TestAsUser(t *testing.T) {
	tests := asUserTests
	if *asUserRun != "" {
		tests = strings.Split(*asUserRun, ",")
	}
	t.Setenv("WEIR_PASSTHROUGH", "off")
	out, err := fusetest.UsualUser.RunTests(t.TempDir(), weirBinary, tests)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
}
