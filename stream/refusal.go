package stream

import (
	"fmt"
	"net/http"
)

// refusal is an answer other than a stream.
type refusal struct {
	code     int
	conflict string // value of conflictHeader
	text     string
}

func (e *refusal) Error() string { return e.text }

func refuse(code int, format string, args ...any) error {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

// With status 409 conflictHeader says which of two conflicts it is.
const (
	conflictHeader   = "Weir-Conflict"
	conflictPosition = "position" // the position is not in the log: a delta is needed
	conflictDatabase = "database" // the identity is another database's
)

func (e *refusal) write(w http.ResponseWriter) {
	if e.conflict != "" {
		w.Header().Set(conflictHeader, e.conflict)
	}
	if e.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, e.text, e.code)
}

// retryAfter is in seconds.
const retryAfter = "5"
