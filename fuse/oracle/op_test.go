package oracle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// op is one operation, carried out on both twins. Its verbs:
//
//	open QUERY    start the writer's process if need be, and open the database with QUERY in its URI
//	close         close the connection; the process stays
//	kill          end the process by kill -9
//	shoot US TEXT begin a transaction if there is none, and kill the process US microseconds after the statement's start
//	sql TEXT      run one statement; {dir} in it is the directory of the databases
//	persist       keep the WAL at close (SQLITE_FCNTL_PERSIST_WAL)
//	restore       write the copy over the database by SQLite's backup
//	files WHAT    remove the database, or put the copy in its place, remove, mv or cp; or rename it away and back; all
//	              writers have closed it
//
// on the primary's mount, with all writers ended before:
//
//	crash US TEXT kill a process US microseconds after a statement's start; it has committed, or it has not
//
// on the replica alone, the number being that of a reader:
//
//	hold QUERY    begin a read transaction, by a connection that is opened with QUERY in its URI
//	release       see the same state still, and end it
//	ask TEXT      run a statement of a connection's own, such as a pragma
//
// and on weir, whoever does it:
//
//	remount TEXT  unmount all, run a statement if there is one, mount again
//	restart TEXT  the same with the replica alone; the statement spoils the replica's database
type op struct {
	who  int
	verb string
	arg  string
}

func (o op) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s %s", o.who, o.verb, o.arg)) }

// byReader tells whether its number is that of a reader.
func (o op) byReader() bool { return o.verb == "hold" || o.verb == "release" || o.verb == "ask" }

// timed splits the argument of shoot and crash.
func (o op) timed() (after time.Duration, text string) {
	us, text, _ := strings.Cut(o.arg, " ")
	n, _ := strconv.Atoi(us) // 0: at once
	return time.Duration(n) * time.Microsecond, text
}

func parseOp(line string) (o op, err error) {
	who, rest, _ := strings.Cut(line, " ")
	o.verb, o.arg, _ = strings.Cut(rest, " ")
	limit := writers
	if o.byReader() {
		limit = readers
	}
	if o.who, err = strconv.Atoi(who); err != nil || o.who < 0 || o.who >= limit {
		return o, fmt.Errorf("%q does not begin with a number below %d", line, limit)
	}
	return o, nil
}

func parseScript(text string) (ops []op, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		o, err := parseOp(line)
		if err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	return ops, nil
}

func formatScript(ops []op) string {
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}
