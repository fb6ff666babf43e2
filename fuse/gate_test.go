package fuse

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Whatever an app does in a directory while weir starts waits until the databases are open.
func TestGate(t *testing.T) {
	for name, status := range map[string]fuse.Status{"opens": fuse.OK, "fails": fuse.EIO} {
		t.Run(name, func(t *testing.T) {
			m, dir := mountGated(t)
			apps := startApps(t, dir)
			if files := entries(t, m.dirs[0].below(".")); files != ".weir away db gone" {
				t.Errorf("got the files %s before the gate is open", files)
			}
			m.decide(status)
			for _, app := range apps {
				if err := app.Wait(); (err == nil) != status.Ok() {
					t.Errorf("%q: %v", app.Args, err)
				}
			}
		})
	}
}

// The daemon passes by its private mount, before and after apps have come. The root's attributes, which it and who
// changes them get then, let nobody else in. Apps that wait can be killed.
func TestGateOfDaemon(t *testing.T) {
	m, dir := mountGated(t)
	apps := startApps(t, dir)
	late := time.AfterFunc(30*time.Second, func() { m.decide(fuse.EIO) }) // so that nothing waits for ever
	defer late.Stop()
	for range 2 {
		f, err := m.dirs[0].inside.open("db")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	apps = append(apps, startApps(t, dir)...)
	chmod := exec.CommandContext(t.Context(), "python3", "-c", "import os, sys; os.chmod(sys.argv[1], 0o755)", dir) // chmod(1) looks first
	if out, err := chmod.CombinedOutput(); err != nil {
		t.Errorf("chmod: %v %s", err, out)
	}
	apps = append(apps, startApps(t, dir)...)
	if files := entries(t, m.dirs[0].below(".")); files != ".weir away db gone" {
		t.Errorf("got the files %s before the gate is open", files)
	}
	for _, app := range apps {
		if err := app.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	for _, app := range apps {
		app.Wait() // killed
		if app.ProcessState.Exited() {
			t.Errorf("%q was not killed but ended: %v", app.Args, app.ProcessState)
		}
	}
	if !m.dirs[0].sb.gate.closed() {
		t.Error("the gate had to be opened for those that were killed, or for the daemon")
	}
}

// entries names what is in a directory.
func entries(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return strings.Join(names, " ")
}

// mountGated mounts a directory with some files as far as its gate.
func mountGated(t *testing.T) (m *Mounts, dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"db", "gone", "away"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db := filepath.Join(dir, "db")
	m = &Mounts{databases: []Database{{Path: db}}, mounting: byRight{}, guard: new(guard)}
	t.Cleanup(func() {
		m.decide(fuse.EIO)
		for _, d := range m.dirs {
			if err := errors.Join(d.unmount(unmountLazily), d.close()); err != nil {
				t.Error(err)
			}
		}
	})
	if err := m.mounting.open(m, Config{Databases: m.databases, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.dirs[0].choosePassthrough(passthrough()), m.dirs[0].begin()); err != nil {
		t.Fatal(err)
	}
	return m, dir
}

// startApps starts apps, each of which does something in dir, and gives them the time to come to the gate.
func startApps(t *testing.T, dir string) (apps []*exec.Cmd) {
	t.Helper()
	for _, does := range [][]string{
		{"cat", "db"}, {"stat", "db"}, {"touch", "new"}, {"mkdir", "sub"}, {"cp", "db", "copy"}, {"ln", "db", "link"},
		{"mv", "gone", "there"}, {"rm", "away"}, {"ls", ""}, {"sqlite3", "other", ".tables"},
	} {
		args := []string{does[0]}
		for _, name := range does[1:] {
			if !strings.HasPrefix(name, ".") {
				name = dir + "/" + name
			}
			args = append(args, name)
		}
		app := exec.Command(args[0], args[1:]...)
		app.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { app.Process.Kill() }) // or it has ended
		apps = append(apps, app)
	}
	time.Sleep(200 * time.Millisecond)
	return apps
}
