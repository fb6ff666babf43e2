package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// programs are SQLite's own, and the scripts of mptester, below one directory.
type programs struct{ dir string }

func (s programs) path(name string) string { return filepath.Join(s.dir, name) }

// built are the programs, built once.
var built = sync.OnceValues(buildPrograms)

// sqlitePrograms returns SQLite's own programs. Where they cannot be had the test fails.
func sqlitePrograms(t *testing.T) programs {
	t.Helper()
	if !*own {
		t.Skip("asked for by -conformance.programs: it fetches SQLite's source package")
	}
	s, err := built()
	if err != nil {
		t.Fatalf("SQLite's own programs: %v\nhint: they come from the source package sqlite3 by apt-get; install gcc, libsqlite3-dev and xz-utils, and let apt-get reach its mirror", err)
	}
	return s
}

// buildPrograms finds the programs in the user's cache directory, or else fetches and builds them. What is there is
// named by its version and complete, because it comes by a rename.
func buildPrograms() (s programs, err error) {
	version, err := output("dpkg-query", "--show", "--showformat", "${source:Version}", "libsqlite3-dev")
	if err != nil {
		return s, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	s.dir = filepath.Join(cache, "weir-conformance", "sqlite3-"+version)
	if _, err := os.Stat(s.dir); err == nil {
		return s, nil
	}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
		return s, err
	}
	work, err := os.MkdirTemp(filepath.Dir(s.dir), "build-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(work)
	if err := fetch(work, version); err != nil {
		return s, err
	}
	if err := compile(work); err != nil {
		return s, err
	}
	err = os.Rename(filepath.Join(work, "out"), s.dir)
	if _, other := os.Stat(s.dir); other == nil {
		err = nil // it may be another process that has built it
	}
	return s, err
}

func output(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// fetch unpacks the source package below work. Its index is fetched beside the machine's own, which stay as they are.
func fetch(work, version string) error {
	if err := sourceLists(filepath.Join(work, "sources")); err != nil {
		return err
	}
	for _, dir := range []string{"lists/partial", "cache/archives/partial", "src"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	apt := func(args ...string) error {
		cmd := exec.Command("apt-get", append([]string{"-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + filepath.Join(work, "sources"),
			"-o", "Dir::State::lists=" + filepath.Join(work, "lists"), "-o", "Dir::Cache=" + filepath.Join(work, "cache"),
			"-o", "APT::Sandbox::User=root"}, args...)...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	update := apt("update") // a mirror that has no sources may be among them
	if err := apt("source", "--download-only", "sqlite3="+version); err != nil {
		// The mirror has only its newest, and the machine may not.
		if newest := apt("source", "--download-only", "sqlite3"); newest != nil {
			return errors.Join(err, newest, update)
		}
	}
	tars, err := filepath.Glob(filepath.Join(work, "sqlite3_*.orig.tar.*"))
	if err != nil || len(tars) != 1 {
		return fmt.Errorf("the source package has the archives %q, want one", tars)
	}
	_, err = output("tar", "--extract", "--file", tars[0], "--strip-components=1", "--directory", filepath.Join(work, "src"))
	return err
}

// sourceLists copies the machine's lists of packages to dir as lists of source packages.
func sourceLists(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	files := []string{"/etc/apt/sources.list"}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, err := filepath.Glob("/etc/apt/sources.list.d/" + pattern)
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(sourceList(string(data))), 0o644); err != nil {
			return err
		}
	}
	// Files are named by their format.
	return os.Rename(filepath.Join(dir, "sources.list"), filepath.Join(dir, "main.list"))
}

// sourceList turns a list, in either of its formats (sources.list(5)), into one of source packages.
func sourceList(list string) string {
	var b strings.Builder
	for line := range strings.Lines(list) {
		word, rest, _ := strings.Cut(strings.TrimLeft(line, " \t"), ":")
		fields := strings.Fields(line)
		switch {
		case strings.EqualFold(word, "Types") && rest != "":
			line = "Types: deb-src\n"
		case len(fields) > 0 && fields[0] == "deb":
			line = "deb-src " + strings.Join(fields[1:], " ") + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// perTest divides the time that threadtest3's tests take, for the short runs.
const perTest = 20

// compile builds the programs against the machine's SQLite.
func compile(work string) error {
	src, out := filepath.Join(work, "src"), filepath.Join(work, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	if err := shorten(filepath.Join(src, "test", "threadtest3.c"), filepath.Join(src, "test", "threadtest3short.c")); err != nil {
		return err
	}
	for name, files := range map[string][]string{
		"mptester":         {"mptest/mptest.c"},
		"kvtest":           {"test/kvtest.c"},
		"speedtest1":       {"test/speedtest1.c"},
		"threadtest3":      {"test/threadtest3.c", "src/test_multiplex.c"},
		"threadtest3short": {"test/threadtest3short.c", "src/test_multiplex.c"},
	} {
		args := []string{"gcc", "-O2", "-w", "-DSQLITE_CORE", "-I" + filepath.Join(src, "src"), "-o", filepath.Join(out, name)}
		for _, f := range files {
			args = append(args, filepath.Join(src, f))
		}
		if _, err := output(append(args, "-lsqlite3", "-lpthread", "-lm")...); err != nil {
			return err
		}
	}
	scripts, err := filepath.Glob(filepath.Join(src, "mptest", "*test"))
	if err != nil {
		return err
	}
	_, err = output(append(append([]string{"cp"}, scripts...), out)...)
	return err
}

// shorten makes the tests of threadtest3 shorter.
func shorten(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	const call = "xTest(aTest[i].nMs)"
	if !strings.Contains(string(data), call) {
		return fmt.Errorf("%s has another shape than is known: no %s", from, call)
	}
	text := strings.Replace(string(data), call, fmt.Sprintf("xTest(aTest[i].nMs / %d)", perTest), 1)
	return os.WriteFile(to, []byte(text), 0o644)
}
