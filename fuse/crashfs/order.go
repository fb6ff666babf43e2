package crashfs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// notes is the directory of Note.
const notes = "order-notes"

var noted atomic.Int64

// Note has text stand in [Order] behind what was done so far in the file system mounted at a directory: a headline where it
// begins with "== ". Any process may do so.
func Note(at, text string) error {
	dir := filepath.Join(at, notes)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(dir, fmt.Sprintf("%s#%d.%d", text, os.Getpid(), noted.Add(1))), 0o755)
}

// Order is the order of operations, as text: what is done to which file, and what was noted in between. What is repeated
// at once stands once, and without the number in a segment's name, offsets and lengths, which chance decides. What is
// written to a wal-index is left out: it is mapped, and the kernel writes it when it likes.
func Order(ops []Op) string {
	var text strings.Builder
	last := ""
	for _, o := range ops {
		line := o.order()
		if line == last || line == "" {
			continue
		}
		if last = line; strings.HasPrefix(line, "== ") && text.Len() > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(line + "\n")
	}
	return text.String()
}

var segmentNumber = regexp.MustCompile(`\blog-[0-9a-f]+`)

// order is the line of an operation; empty for none.
func (o Op) order() string {
	if dir, name := path.Split(o.Path); path.Base(dir) == notes {
		name, _, _ = strings.Cut(name, "#")
		return name
	} else if name == notes || strings.HasSuffix(name, "-shm") && o.Kind == Write {
		return ""
	}
	line := o.Kind.String() + " " + o.Path
	if o.Kind == Link || o.Kind == Rename {
		line += " to " + o.To
	}
	return segmentNumber.ReplaceAllString(line, "log-N")
}

// CompareOrder compares an order with that in a file, or writes it there where it is to be rewritten.
func CompareOrder(t *testing.T, file, got string, rewrite bool) {
	t.Helper()
	if rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if step, was, is := firstDifference(string(want), got); step != "" {
		t.Errorf("%s of %s is\n%s\nwant\n%s\nWhere that is meant, run the test with -rewrite", step, file, is, was)
	}
}

// firstDifference returns the first step in which two orders differ, with what is done in it; empty where there is none.
func firstDifference(want, got string) (step, was, is string) {
	wants, gots := steps(want), steps(got)
	for i := range max(len(wants), len(gots)) {
		was, is = "", ""
		if i < len(wants) {
			was = wants[i]
		}
		if i < len(gots) {
			is = gots[i]
		}
		if was != is {
			return fmt.Sprintf("step %d", i+1), was, is
		}
	}
	return "", "", ""
}

// steps are the parts of an order, each with its headline.
func steps(order string) []string { return strings.Split(order, "\n\n") }
