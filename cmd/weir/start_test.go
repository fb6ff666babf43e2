package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Weir starts while the test has a directory open on a FUSE file system whose daemon answers nothing.
func TestStartBesideHungMount(t *testing.T) {
	primary := newPrimary(t)
	if err := os.WriteFile(primary.db, nil, 0o644); err != nil { // so that weir looks who has it open
		t.Fatal(err)
	}
	hangFileSystem(t)
	primary.start()
	shell(t, primary.db, auditSchema+auditStep)
	primary.stop()
}

// hangFileSystem has the test process hold the root directory of a FUSE file system that answers only the kernel's
// greeting. It is mounted nowhere, so nobody meets it but through this process's descriptor.
func hangFileSystem(t *testing.T) {
	t.Helper()
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dev) }) // whoever waits gets an error
	root, err := mountDevice(dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(root) })
	if err := greet(dev); err != nil {
		t.Fatal(err)
	}
}

func mountDevice(dev int) (root int, err error) {
	ctx, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(ctx)
	for _, kv := range [][2]string{{"source", "hung"}, {"fd", fmt.Sprint(dev)}, {"rootmode", "40000"}, {"user_id", "0"}, {"group_id", "0"}} {
		if err := unix.FsconfigSetString(ctx, kv[0], kv[1]); err != nil {
			return -1, fmt.Errorf("fsconfig %s: %w", kv[0], err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("fsconfig: %w", err)
	}
	return unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
}

// greet answers FUSE_INIT, the first request.
func greet(dev int) error {
	request := make([]byte, 1<<17)
	if _, err := unix.Read(dev, request); err != nil {
		return fmt.Errorf("read FUSE_INIT: %w", err)
	}
	// A header of length, error and the request's number, then struct fuse_init_out: the version, and no features.
	reply := make([]byte, 16+64)
	binary.NativeEndian.PutUint32(reply, uint32(len(reply)))
	copy(reply[8:], request[8:16])
	binary.NativeEndian.PutUint32(reply[16:], 7)
	binary.NativeEndian.PutUint32(reply[20:], 31)
	_, err := unix.Write(dev, reply)
	return err
}
