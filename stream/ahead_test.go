package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/iotest"
	"time"
)

// What is read ahead is what comes, for readers of all kinds, and with the error at its end.
func TestReadAhead(t *testing.T) {
	data := make([]byte, 3*aheadMost+17)
	noise := rand.NewChaCha8([32]byte{1})
	noise.Read(data)
	r := rand.New(noise)
	for name, in := range map[string]io.Reader{
		"all":                      bytes.NewReader(data),
		"half":                     iotest.HalfReader(bytes.NewReader(data)),
		"data and its end at once": iotest.DataErrReader(bytes.NewReader(data)),
		"an error":                 io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errors.New("cut"))),
	} {
		t.Run(name, func(t *testing.T) {
			a := readAhead(in)
			defer a.Close()
			var got []byte
			var err error
			for err == nil {
				b := make([]byte, 1+r.IntN(3*aheadIdle))
				if r.IntN(2) == 0 && a.peek(b) {
					if at := len(got); !bytes.Equal(b, data[at:at+len(b)]) {
						t.Fatalf("what comes first is not what is at %d", at)
					}
				}
				var n int
				n, err = a.Read(b)
				got = append(got, b[:n]...)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, not the %d that came", len(got), len(data))
			}
			if want := name == "an error"; (err != io.EOF) != want {
				t.Errorf("got the error %v", err)
			}
			if a.large != nil {
				t.Error("it keeps the large room where nothing is behind")
			}
		})
	}
}

// A reader that is not done with what came is not waited for by Close, nor does it hold up more than there is room for.
func TestReadAheadCloses(t *testing.T) {
	in := &counting{}
	a := readAhead(in)
	for !a.has(aheadMost - watched + 1) {
		time.Sleep(time.Millisecond)
	}
	a.Close()
	if in.n > aheadMost+watched {
		t.Errorf("got %d bytes read, more than there is room for", in.n)
	}
}

// counting yields bytes without end.
type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

// batches notes how many transactions come at a time.
type batches struct {
	*model
	lens []int
}

func (b *batches) Apply(ctx context.Context, payload io.Reader, n int64, more More) error {
	i := len(b.lens)
	b.lens = append(b.lens, 1)
	return b.model.Apply(ctx, payload, n, func() (int64, bool, error) {
		n, ok, err := more()
		if ok {
			b.lens[i]++
		}
		return n, ok, err
	})
}

// stalled is a transport whose answer stays away after some bytes, until the request is cancelled.
type stalled []byte

func (b stalled) RoundTrip(r *http.Request) (*http.Response, error) {
	never, w := io.Pipe()
	context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(io.MultiReader(bytes.NewReader(b), never)), Request: r}, nil
}

// The transactions of a backlog come in one go, but none waits for one of which not all is here.
func TestFollowBacklog(t *testing.T) {
	up := newModel(t, LogOptions{})
	r := newRand(t)
	from := up.commitRandom(r)
	pages := slices.Clone(up.pages)
	var until, last Pos
	for range 9 {
		last, until = until, up.commitRandom(r)
	}
	_, url := serve(t, up)
	answer := record(t, url, "&id="+up.log.ID()+"&pos="+from.String(), until)
	for _, missing := range []int{0, 1, recordOverhead} {
		down := &batches{model: newModel(t, LogOptions{})}
		down.put(up.log.Lineage(), from, pages)
		want := until
		if missing > 0 {
			want = last
		}
		stop := followWith(t, url, down, FollowOptions{Timeout: time.Minute, Client: &http.Client{Transport: stalled(answer[:len(answer)-missing])}})
		down.waitPos(want)
		stop()
		if len(down.lens) > 8 {
			t.Errorf("without %d bytes: got transactions by %v, want several at a time", missing, down.lens)
		}
	}
}
