package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// screen prints the demo's progress. On a terminal it has colours and one line at the bottom that is drawn anew;
// elsewhere it is plain lines, and what is only of the moment is left out.
type screen struct {
	w     io.Writer
	live  bool // a terminal
	drawn time.Time
}

// redraw is how often the live line changes at most.
const redraw = 50 * time.Millisecond

const (
	clearLine = "\r\x1b[K"
	green     = "\x1b[32m"
	red       = "\x1b[31m"
	bold      = "\x1b[1m"
	dim       = "\x1b[2m"
	plain     = "\x1b[0m"
)

func newScreen(w io.Writer) *screen { return &screen{w: w, live: isTerminal(w)} }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// paint colours s where there are colours (https://no-color.org).
func (s *screen) paint(colour, text string) string {
	if !s.live || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return colour + text + plain
}

// line prints a line that stays.
func (s *screen) line(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// done prints what has been shown to hold.
func (s *screen) done(format string, args ...any) {
	s.line("%s %s", s.paint(green, "ok"), fmt.Sprintf(format, args...))
}

// now draws the live line.
func (s *screen) now(format string, args ...any) {
	if !s.live || time.Since(s.drawn) < redraw {
		return
	}
	s.drawn = time.Now()
	fmt.Fprint(s.w, clearLine+fmt.Sprintf(format, args...))
}

// clear removes the live line.
func (s *screen) clear() {
	if s.live {
		fmt.Fprint(s.w, clearLine)
	}
	s.drawn = time.Time{}
}

// milliseconds prints d with three digits or so: "0.42 ms", "17.3 ms", "240 ms".
func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// thousands prints n as 12,345.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// quantile returns the value below which a share q of the values lies; 0 for none.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
