package main

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"weir/stream"
)

// logOptions are how weir logs. An empty one is the default.
type logOptions struct {
	Format string // text or json; text
	Level  string // trace, debug, info, warn or error; info
}

// or takes from other what o does not say.
func (o logOptions) or(other logOptions) logOptions {
	return logOptions{cmp.Or(o.Format, other.Format), cmp.Or(o.Level, other.Level)}
}

func checkLogFormat(format string) error {
	if format != "text" && format != "json" {
		return fmt.Errorf("log-format is %q: give text or json", format)
	}
	return nil
}

// parseLogLevel reads a level as slog writes it, or trace.
func parseLogLevel(text string) (level slog.Level, err error) {
	if strings.EqualFold(text, "trace") {
		return stream.LevelTrace, nil
	}
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return level, fmt.Errorf("log-level is %q: give trace, debug, info, warn or error", text)
	}
	return level, nil
}

func checkLogLevel(text string) error {
	_, err := parseLogLevel(text)
	return err
}

// logger logs to w. The options have been checked.
func (o logOptions) logger(w io.Writer) *slog.Logger {
	level, _ := parseLogLevel(cmp.Or(o.Level, "info"))
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: nameTrace}
	if o.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// nameTrace writes TRACE for what slog calls DEBUG-4.
func nameTrace(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey && level == stream.LevelTrace {
		return slog.String(slog.LevelKey, "TRACE")
	}
	return a
}
