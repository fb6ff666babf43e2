// Node's better-sqlite3, with memory-mapped reads.
const { randomBytes } = require("crypto");
const Database = require("better-sqlite3");

const [verb, path, mode, count, author] = process.argv.slice(2);
const db = new Database(path, { timeout: 60000 });
db.pragma("mmap_size = 268435456");

function read() {
	console.log(db.prepare("SELECT n FROM total").pluck().get());
	const authors = db.prepare("SELECT author, count(*), sum(n), sum(length(body)) FROM note GROUP BY author ORDER BY author");
	for (const row of authors.raw().iterate()) console.log(row.join("|"));
}

function write() {
	db.pragma("journal_mode = " + mode);
	db.exec(`CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, author VARCHAR NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL);
		CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
		INSERT OR IGNORE INTO total VALUES (1, 0)`);
	const more = db.prepare("UPDATE total SET n = n + 1");
	const insert = db.prepare("INSERT INTO note (author, n, body) VALUES (?, ?, ?)");
	const add = db.transaction((n) => {
		more.run();
		insert.run(author, n, randomBytes((n * 97) % 5000));
	});
	for (let n = 1; n <= Number(count); n++) add.immediate(n);
	const taken = new Error("taken back");
	try {
		db.transaction(() => {
			db.exec("UPDATE total SET n = 0; DELETE FROM note");
			throw taken;
		})();
	} catch (e) {
		if (e !== taken) throw e;
	}
}

if (verb === "read") db.transaction(read)();
else write();
db.close();
