package oracle

import (
	"fmt"
	"strconv"
	"strings"
)

// op is one operation, carried out on both twins. Its verbs:
//
//	open QUERY   start the writer's process if need be, and open the database with QUERY in its URI
//	close        close the connection; the process stays
//	kill         end the process by kill -9
//	sql TEXT     run one statement; {dir} in it is the directory of the databases
//	persist      keep the WAL at close (SQLITE_FCNTL_PERSIST_WAL)
//	restore      write the copy over the database by SQLite's backup
//	files WHAT   remove the database, or put the copy in its place: remove, mv or cp; all writers have closed it
//
// and on the replica alone, the writer's number being that of a reader:
//
//	hold         begin a read transaction
//	release      see the same state still, and end it
//
// and on weir, whoever does it:
//
//	remount TEXT unmount all, run a statement if there is one, mount again
//	restart TEXT the same with the replica alone; the statement spoils the replica's database
type op struct {
	who  int
	verb string
	arg  string
}

func (o op) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s %s", o.who, o.verb, o.arg)) }

func parseOp(line string) (o op, err error) {
	who, rest, _ := strings.Cut(line, " ")
	o.verb, o.arg, _ = strings.Cut(rest, " ")
	if o.who, err = strconv.Atoi(who); err != nil || o.who < 0 || o.who >= writers {
		return o, fmt.Errorf("%q does not begin with the number of one of %d writers", line, writers)
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
