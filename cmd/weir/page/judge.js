// What is well and what is not, from one database of /status. Nothing here touches the page.

import { age, count, duration } from "./units.js";

// In seconds. Who is behind by more than badLag counts as not healthy for "weir status", too. Followers acknowledge every 5 s.
const warnLag = 2, badLag = 10, silentFor = 15;

const levels = ["ok", "warn", "bad"];
export const worst = (all) => levels[Math.max(0, ...all.map((l) => levels.indexOf(l)))];

// txid returns a position's TXID as it is written, "" for the zero position.
export function txid(pos) {
  const id = pos ? pos.slice(0, 16) : "";
  return /^0*$/.test(id) ? "" : id;
}

// shortName leaves the path out of HOST:PATH where it is the same as here.
export function shortName(name, path) {
  return name.endsWith(`:${path}`) ? name.slice(0, -path.length - 1) : name;
}

// behind says in words how far someone is behind.
export function behind(of) {
  const time = duration(of.lagSeconds);
  return of.lagTxns ? `${time}, ${count(of.lagTxns, "transaction")}` : time;
}

function lagLevel(seconds) {
  return seconds > badLag ? "bad" : seconds > warnLag ? "warn" : "ok";
}

// seconds is the time between two times of /status, by its clock alone.
export const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

// ownState is how the database is that this Weir has.
export function ownState(db) {
  if (db.role === "replica" && !db.connected) return { level: "bad", word: "not connected" };
  if (!db.ready) return { level: "bad", word: "not shown yet" };
  if (db.lastError) return { level: "bad", word: "error" };
  const level = db.role === "replica" ? lagLevel(db.lagSeconds) : "ok";
  return { level, word: level === "ok" ? "ok" : "behind" };
}

// followerState is how a replica is that follows, as it was said of it at a time.
export function followerState(f, at) {
  const silent = f.ackedAt ? seconds(f.ackedAt, at) : 0;
  if (silent > silentFor) return { level: "bad", word: `silent for ${age(silent)}` };
  if (!txid(f.pos)) return { level: "warn", word: "gets a snapshot" };
  const level = lagLevel(f.lagSeconds);
  return { level, word: level === "ok" ? "ok" : "behind" };
}

// problems lists what is not well with a database, for people.
export function problems(db) {
  const found = [];
  const add = (key, level, text) => found.push({ key: `${db.path} ${key}`, path: db.path, level, text });
  const own = ownState(db);
  const error = !db.lastError ? "" : `for ${age(seconds(db.lastErrorAt, db.at))}: ${db.lastError}`;
  if (own.word === "not connected") add("upstream", "bad", `not connected to its upstream ${db.upstream}, perhaps behind by ${behind(db)}${error && `; error ${error}`}`);
  else if (own.word === "behind") add("own", own.level, `behind by ${behind(db)}`);
  const received = db.snapshotPages ? `: page ${db.snapshotPage ?? 0} of ${db.snapshotPages} received` : "";
  if (!db.ready) add("ready", "bad", `not shown to readers yet${received}`);
  if (error && own.word !== "not connected") add("error", "bad", `error ${error}`);
  const replicas = (of, at, under) => {
    for (const f of of.streams || []) {
      const own = f.name ? shortName(f.name, db.path) : f.addr, state = followerState(f, at);
      const name = `replica ${own}${under}`, key = `${f.addr}${under}`;
      if (state.word === "behind") add(key, state.level, `${name} is behind by ${behind(f)}`);
      else if (state.level !== "ok") add(key, state.level, state.level === "bad" ? `${name} is ${state.word}; behind by ${behind(f)}` : `${name} ${state.word}`);
      replicas(f, f.ackedAt, ` of ${own}`);
    }
    for (const g of of.gone || []) {
      add(`gone ${g.name}${under}`, "bad", `replica ${shortName(g.name, db.path)}${under} is gone for ${age(seconds(g.at, at))}: ${g.reason}`);
    }
  };
  replicas(db, db.at, "");
  return found;
}
