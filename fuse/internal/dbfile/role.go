package dbfile

import (
	"fmt"
	"strings"
)

// Role is what a file is to a database.
type Role int

// The roles of files.
const (
	RoleOther        Role = iota
	RoleDatabase          // db
	RoleWAL               // db-wal
	RoleSHM               // db-shm, the wal-index
	RoleJournal           // db-journal
	RoleSuperJournal      // db-mjHHHHHH9HH, of a transaction over several databases
)

var roleNames = [...]string{"other", "database", "wal", "shm", "journal", "super-journal"}

func (r Role) String() string {
	if r < 0 || int(r) >= len(roleNames) {
		return fmt.Sprintf("role %d", int(r))
	}
	return roleNames[r]
}

// Suffixes of the files beside a database.
const (
	SuffixWAL     = "-wal"
	SuffixSHM     = "-shm"
	SuffixJournal = "-journal"
)

// Suffix is what the name of a file of this role has after its database's name; "" for roles
// without a fixed one.
func (r Role) Suffix() string {
	switch r {
	case RoleWAL:
		return SuffixWAL
	case RoleSHM:
		return SuffixSHM
	case RoleJournal:
		return SuffixJournal
	}
	return ""
}

// superJournalTail is the length of what follows the database's name: -mj, six hex digits, 9, two
// hex digits.
const superJournalTail = len("-mjHHHHHH9HH")

// RoleOf splits a file name into the name of the database it belongs to and its role there. A name
// without a known suffix is a database's own, as far as a name can tell. A suffix alone is
// RoleOther.
func RoleOf(name string) (db string, role Role) {
	db, role = splitRole(name)
	if db == "" {
		return "", RoleOther
	}
	return db, role
}

func splitRole(name string) (string, Role) {
	if db, ok := strings.CutSuffix(name, SuffixWAL); ok {
		return db, RoleWAL
	}
	if db, ok := strings.CutSuffix(name, SuffixSHM); ok {
		return db, RoleSHM
	}
	if db, ok := strings.CutSuffix(name, SuffixJournal); ok {
		return db, RoleJournal
	}
	if n := len(name) - superJournalTail; n >= 0 && isSuperJournal(name[n:]) {
		return name[:n], RoleSuperJournal
	}
	return name, RoleDatabase
}

func isSuperJournal(tail string) bool {
	digits, ok := strings.CutPrefix(tail, "-mj")
	return ok && digits[6] == '9' && strings.Trim(digits, "0123456789ABCDEF") == ""
}
