// What was seen of one database since the page was opened, for its charts. Times are the server's, in seconds.

import { txid } from "./judge.js";

export const keepFor = 600; // seconds
const rateOver = 3; // seconds: replicas say about once a second how far they are

// Own is the key of the database itself; followers have their names, or else their addresses.
export const own = "";

export class History {
  times = [];
  tracks = new Map(); // key -> { label, lag: [], rate: [], seen: [[time, TXID], ...] }

  // add takes the database as it is now.
  add(db) {
    const time = Date.parse(db.at) / 1000;
    if (time <= this.times.at(-1)) return;
    this.#row(time);
    this.#value(own, db.role === "replica" ? `this replica` : `this primary`, time, db.pos, db.lagSeconds ?? null);
    for (const f of db.streams) this.#value(f.name || f.addr, f.name || f.addr, time, f.pos, txid(f.pos) ? f.lagSeconds : null);
    this.#forget(time - keepFor);
  }

  // pause leaves a gap: nothing was heard.
  pause() {
    const last = this.times.at(-1);
    if (last && [...this.tracks.values()].some((t) => t.lag.at(-1) !== null || t.rate.at(-1) !== null)) this.#row(last + 0.001);
    for (const track of this.tracks.values()) track.seen = [];
  }

  // newest is the last rate of a key, null where there is none.
  newest(key, of) {
    return this.tracks.get(key)?.[of].at(-1) ?? null;
  }

  #row(time) {
    this.times.push(time);
    for (const track of this.tracks.values()) {
      track.lag.push(null);
      track.rate.push(null);
    }
  }

  #value(key, label, time, pos, lag) {
    let track = this.tracks.get(key);
    if (!track) {
      const none = () => this.times.map(() => null);
      this.tracks.set(key, (track = { label, lag: none(), rate: none(), seen: [] }));
    }
    const last = this.times.length - 1, id = parseInt(txid(pos) || "0", 16);
    track.label = label;
    track.lag[last] = lag;
    if (id < (track.seen.at(-1)?.[1] ?? 0)) track.seen = []; // another database
    if (!id) return; // none yet
    track.seen.push([time, id]);
    while (track.seen.length > 2 && time - track.seen[1][0] >= rateOver) track.seen.shift();
    const [from, first] = track.seen[0];
    if (time > from) track.rate[last] = (id - first) / (time - from);
  }

  #forget(before) {
    const n = this.times.findIndex((t) => t >= before);
    if (n <= 0) return;
    this.times.splice(0, n);
    for (const [key, track] of this.tracks) {
      track.lag.splice(0, n);
      track.rate.splice(0, n);
      if (key !== own && track.rate.every((v) => v === null) && track.lag.every((v) => v === null)) this.tracks.delete(key);
    }
  }
}
