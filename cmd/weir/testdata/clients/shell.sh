#!/bin/sh
# The sqlite3 shell, one process a transaction, as in scripts.
set -eu
verb=$1 db=$2

run() { sqlite3 -bail -batch -cmd '.timeout 60000' "$db" "$1"; }

if [ "$verb" = read ]; then
	run "BEGIN;
		SELECT n FROM total;
		SELECT author, count(*), sum(n), sum(length(body)) FROM note GROUP BY author ORDER BY author;
		COMMIT"
	exit
fi

mode=$3 count=$4 author=$5
run "PRAGMA journal_mode = $mode" >/dev/null
run "CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, author VARCHAR NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL);
	CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
	INSERT OR IGNORE INTO total VALUES (1, 0)"
n=1
while [ "$n" -le "$count" ]; do
	run "BEGIN IMMEDIATE;
		UPDATE total SET n = n + 1;
		INSERT INTO note (author, n, body) VALUES ('$author', $n, randomblob($n * 97 % 5000));
		COMMIT"
	n=$((n + 1))
done
run "BEGIN IMMEDIATE; UPDATE total SET n = 0; DELETE FROM note; ROLLBACK"
