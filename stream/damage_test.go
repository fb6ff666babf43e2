package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/superfly/ltx"
)

// A bit flipped in any byte of a segment: what is before the record that it is in stays, and nothing after counts.
func TestSegmentFlips(t *testing.T) {
	_, _, contents, pos := sample(t, 3)
	off := offsets(t, contents)
	for i := range contents {
		contents[i] ^= 1 << (i % 8)
		s, err := scanSegment(bytes.NewReader(contents), int64(len(contents)))
		contents[i] ^= 1 << (i % 8)
		if err == nil {
			t.Fatalf("bit %d of byte %d: not detected", i%8, i)
		}
		n, _ := slices.BinarySearch(off, int64(i)+1) // records that begin at or before the byte
		switch {
		case n == 0 && s != nil:
			t.Fatalf("bit %d of byte %d: a segment without its header counts", i%8, i)
		case n > 0 && (s == nil || s.last() != pos[n-1] || s.size != off[n-1]):
			t.Fatalf("bit %d of byte %d: got %+v, want the segment up to %s", i%8, i, s, pos[n-1])
		}
	}
	t.Logf("%d bytes flipped", len(contents))
}

// recording is a transport that answers with bytes that were recorded.
type recording []byte

func (b recording) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b)), Request: r}, nil
}

// record returns what a server sends to a follower that asks with query, up to position until.
func record(t *testing.T, url, query string, until Pos) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/stream?path="+testPath+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all bytes.Buffer
	in := recordReader{r: io.TeeReader(resp.Body, &all)}
	for last := (Pos{}); last != until; {
		typ, n, err := in.next()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(&in)
		if err == nil {
			err = in.end()
		}
		if err != nil {
			t.Fatalf("%s of %d bytes: %v", typ, n, err)
		}
		switch typ {
		case recordDone:
			last = parsePos(b)
		case recordTxn:
			txn, err := NewTxnReader(bytes.NewReader(b), n)
			for err == nil {
				_, _, err = txn.Next()
			}
			if err != io.EOF {
				t.Fatal(err)
			}
			last = txn.Post()
		}
	}
	return all.Bytes()
}

// receive feeds a replica from a recorded stream until it ends, and returns why it did.
func receive(t *testing.T, r Replica, answer []byte) error {
	t.Helper()
	u, err := streamURL("http://upstream")
	if err != nil {
		t.Fatal(err)
	}
	f := &following{url: u, path: testPath, r: r, opt: FollowOptions{
		Logger: testLogger(t), Client: &http.Client{Transport: recording(answer)}, Timeout: time.Minute,
	}}
	return f.session(t.Context())
}

// put has a replica be at pos with the given pages.
func (m *model) put(of Lineage, pos Pos, pages [][]byte) {
	m.t.Helper()
	m.pages, m.sums = nil, NewSums(testPageSize)
	for i, p := range pages {
		m.set(i+1, map[uint32][]byte{uint32(i + 1): p})
	}
	if err := errors.Join(m.log.Adopt(of), m.log.Reset(pos)); err != nil {
		m.t.Fatal(err)
	}
	for _, bad := range glob(m.t, m.log.dir.Name(), "*"+asideSuffix) {
		if err := os.Remove(bad); err != nil {
			m.t.Fatal(err)
		}
	}
}

// A bit flipped in any byte of a stream ends it as damaged, and what the replica has then is a state of the upstream. (An LTX
// header is compared with the replica's position before its record's CRC is known.)
func TestStreamFlips(t *testing.T) {
	up := newModel(t, LogOptions{})
	r := newRand(t)
	states := map[Pos][][]byte{{}: nil} // of the upstream
	commit := func() Pos {
		pos := up.commitRandom(r)
		states[pos] = slices.Clone(up.pages)
		return pos
	}
	commit()
	from := commit()
	_, url := serve(t, up)
	tests := map[string][]byte{"snapshot": record(t, url, "", from)}
	commit()
	until := commit()
	tests["transactions"] = record(t, url, "&id="+up.log.ID()+"&pos="+from.String(), until)
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			answer, down, at := tests[name], newModel(t, LogOptions{}), Pos{}
			if name == "transactions" {
				at = from
			}
			for i := range answer {
				down.put(up.log.Lineage(), at, states[at])
				answer[i] ^= 1 << (i % 8)
				err := receive(t, down, answer)
				answer[i] ^= 1 << (i % 8)
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrPosMismatch) {
					t.Fatalf("bit %d of byte %d of %d: got %v, want ErrCorrupt or, from an LTX header, ErrPosMismatch", i%8, i, len(answer), err)
				}
				want, ok := states[down.log.Published()]
				if !ok || !slices.EqualFunc(down.pages, want, bytes.Equal) {
					t.Fatalf("bit %d of byte %d of %d: the replica at %s is at no state of the upstream", i%8, i, len(answer), down.log.Published())
				}
			}
			down.put(up.log.Lineage(), at, states[at])
			if err := receive(t, down, answer); !errors.Is(err, errEnded) {
				t.Errorf("whole: got %v, want its end", err)
			}
			t.Logf("%d bytes flipped", len(answer))
		})
	}
}

// thorough reads a transaction to its end before it says what is wrong with it.
type thorough struct{ *model }

func (r thorough) Apply(ctx context.Context, payload io.Reader, n int64, more More) error {
	if err := r.model.Apply(ctx, payload, n, more); err != nil {
		io.Copy(io.Discard, payload) // err came first
		return err
	}
	return nil
}

// A transaction that does not follow is that also where the connection ends within its record: so a delta is asked for.
func TestFollowFirstCause(t *testing.T) {
	up, down := newModel(t, LogOptions{}), newModel(t, LogOptions{})
	r := newRand(t)
	up.commitRandom(r)
	from := up.commitRandom(r)
	pages := slices.Clone(up.pages)
	until := up.commitRandom(r)
	_, url := serve(t, up)
	answer := record(t, url, "&id="+up.log.ID()+"&pos="+from.String(), until)
	at := bytes.Index(answer, []byte(ltx.Magic))
	if at < 0 {
		t.Fatal("no transaction was sent")
	}
	down.put(up.log.Lineage(), from, pages)
	cut := answer[:at+ltx.HeaderSize+20]
	if err := receive(t, thorough{down}, cut); !errors.Is(err, errConn) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a right transaction that is cut: got %v, want an error of the connection", err)
	}
	const preApplyAt = 40 // in an LTX header
	cut[at+preApplyAt+7] ^= 1
	if err := receive(t, thorough{down}, cut); errors.Is(err, errConn) || !errors.Is(err, ErrPosMismatch) {
		t.Errorf("one that does not follow, cut: got %v, want ErrPosMismatch", err)
	}
}

// A bit flipped in the identity file is found; the file is set aside, and the log goes on under the segments' identity.
func TestLogIdentityFlips(t *testing.T) {
	dir, path, contents, pos := sample(t, 3)
	idPath := filepath.Join(dir, idFile)
	saved, err := os.ReadFile(idPath)
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseIdentity(saved)
	if err != nil {
		t.Fatal(err)
	}
	for i := range saved {
		flipped := bytes.Clone(saved)
		flipped[i] ^= 1 << (i % 8)
		if err := os.WriteFile(idPath, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		last, bad := reopenWith(t, dir, path, contents)
		if last != pos[3] || !bytes.Equal(bad, flipped) {
			t.Fatalf("bit %d of byte %d: got %s and %d bytes set aside, want %s and the damaged file", i%8, i, last, len(bad), pos[3])
		}
		b, err := os.ReadFile(idPath)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseIdentity(b); err != nil || got.ID != want.ID {
			t.Fatalf("bit %d of byte %d: got identity %q (%v), want %s", i%8, i, got.ID, err, want.ID)
		}
	}
	t.Logf("%d bytes flipped", len(saved))
}
