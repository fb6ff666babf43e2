# Perl's DBI with DBD::SQLite.
use strict;
use warnings;
use DBI;

my ($verb, $db, $mode, $count, $author) = @ARGV;
my $dbh = DBI->connect("dbi:SQLite:dbname=$db", "", "", { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
$dbh->sqlite_busy_timeout(60000);

if ($verb eq "read") {
	# DBI's begin_work would be an immediate transaction, which is a write.
	$dbh->do("BEGIN DEFERRED");
	print $dbh->selectrow_array("SELECT n FROM total"), "\n";
	my $authors = $dbh->selectall_arrayref(
		"SELECT author, count(*), sum(n), sum(length(body)) FROM note GROUP BY author ORDER BY author");
	print join("|", @$_), "\n" for @$authors;
	$dbh->do("COMMIT");
} else {
	$dbh->do("PRAGMA journal_mode = $mode");
	$dbh->do("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, author VARCHAR NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL)");
	$dbh->do("CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)");
	$dbh->do("INSERT OR IGNORE INTO total VALUES (1, 0)");
	for my $n (1 .. $count) {
		$dbh->begin_work;
		$dbh->do("UPDATE total SET n = n + 1");
		$dbh->do("INSERT INTO note (author, n, body) VALUES (?, ?, randomblob(?))", undef, $author, $n, $n * 97 % 5000);
		$dbh->commit;
	}
	$dbh->begin_work;
	$dbh->do("UPDATE total SET n = 0");
	$dbh->do("DELETE FROM note");
	$dbh->rollback;
}
$dbh->disconnect;
