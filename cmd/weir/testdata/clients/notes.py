"""Python's sqlite3."""

import os
import sqlite3
import sys


def write(con, mode, count, author):
    con.execute("PRAGMA journal_mode = " + mode)
    con.executescript(
        """CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, author VARCHAR NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL);
        CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
        INSERT OR IGNORE INTO total VALUES (1, 0);"""
    )
    for n in range(1, count + 1):
        with con:
            con.execute("UPDATE total SET n = n + 1")
            con.execute("INSERT INTO note (author, n, body) VALUES (?, ?, ?)", (author, n, os.urandom(n * 97 % 5000)))
    con.execute("UPDATE total SET n = 0")
    con.execute("DELETE FROM note")
    con.rollback()


def read(con):
    con.execute("BEGIN")
    print(con.execute("SELECT n FROM total").fetchone()[0])
    for row in con.execute("SELECT author, count(*), sum(n), sum(length(body)) FROM note GROUP BY author ORDER BY author"):
        print("|".join(map(str, row)))
    con.rollback()


verb, db, *rest = sys.argv[1:]
connection = sqlite3.connect(db, timeout=60)
if verb == "read":
    read(connection)
else:
    write(connection, rest[0], int(rest[1]), rest[2])
connection.close()
