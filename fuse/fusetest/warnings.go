package fusetest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Warnings keeps what weir warns of. It is a [slog.Handler].
type Warnings struct {
	mu   sync.Mutex
	text []string // mu
}

var _ = (slog.Handler)((*Warnings)(nil))

// Enabled implements [slog.Handler].
func (w *Warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (w *Warnings) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s", a)
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b.String())
	return nil
}

// WithAttrs implements [slog.Handler].
func (w *Warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w *Warnings) WithGroup(string) slog.Handler { return w }

// Take returns what was warned of since the last call as an error.
func (w *Warnings) Take() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.text) == 0 {
		return nil
	}
	err := fmt.Errorf("weir warns: %s", strings.Join(w.text, "\n\t"))
	w.text = nil
	return err
}

// Forgive takes the warnings that have all of the given words away and returns how many there were.
func (w *Warnings) Forgive(words ...string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.text)
	w.text = slices.DeleteFunc(w.text, func(text string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
	return n - len(w.text)
}

// Expect waits for a warning that has all of the given words, and takes it away.
func (w *Warnings) Expect(timeout time.Duration, words ...string) error {
	for deadline := time.Now().Add(timeout); w.Forgive(words...) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("weir gives no warning with %q", words)
		}
	}
	return nil
}
