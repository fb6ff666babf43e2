package stream

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// FollowOptions tune Follow. The zero value works.
type FollowOptions struct {
	Logger     *slog.Logger  // slog.Default
	Client     *http.Client  // one of its own
	Timeout    time.Duration // without a byte from the upstream; 5 seconds
	MinBackoff time.Duration // before the first new attempt; 50 ms
	MaxBackoff time.Duration // between two attempts; 5 seconds
}

// ErrOtherDatabase says that the upstream's database is not the one that the
// replica has.
var ErrOtherDatabase = errors.New("upstream has another database")

// Follow keeps r up to date with the database that the server at url serves
// under path, until ctx ends.
func Follow(ctx context.Context, url, path string, r Replica, opt FollowOptions) error {
	<-ctx.Done()
	return ctx.Err()
}
