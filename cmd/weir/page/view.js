// One database on the page.

import { el, put, level, sync } from "./dom.js";
import { lagChart, rateChart } from "./charts.js";
import { History } from "./history.js";
import { behind, ownState, problems, seconds, txid, worst } from "./judge.js";
import { Topology } from "./topology.js";
import { age, bytes, count, duration, moment, rate } from "./units.js";

export class DatabaseView {
  history = new History();
  topology = new Topology();
  charts = [lagChart(), rateChart()];

  constructor(path, open) {
    this.head = { path: el("h2", {}, el("span", { class: "dot" }), path), role: el("span", { class: "role" }), state: el("span", { class: "state" }), line: el("span", { class: "line" }) };
    this.facts = el("dl", { class: "facts" });
    this.errors = el("ol", { class: "errors" });
    this.noErrors = el("p", { class: "empty" }, "None since Weir started.");
    this.root = el("details", { class: "database" },
      el("summary", {}, ...Object.values(this.head)),
      this.topology.root,
      el("div", { class: "charts" }, ...this.charts.map((c) => c.root)),
      el("div", { class: "more" },
        el("section", {}, el("h3", {}, "Database"), this.facts),
        el("section", {}, el("h3", {}, "Last errors"), this.errors, this.noErrors)));
    this.root.open = open;
    this.root.addEventListener("toggle", () => this.db && this.#draw());
  }

  update(db) {
    this.db = db;
    this.history.add(db);
    this.problems = problems(db);
    this.#summary();
    if (this.root.open) this.#draw();
  }

  // silent notes that Weir does not answer.
  silent() {
    this.history.pause();
  }

  redraw() {
    for (const chart of this.charts) chart.redraw();
  }

  #summary() {
    const { db, head } = this, own = ownState(db);
    level(this.root, worst(this.problems.map((p) => p.level)));
    put(head.role, db.role);
    put(head.state, own.word === "ok" && this.problems.length ? count(this.problems.length, "problem") : own.word);
    const pace = this.history.newest("", "rate");
    const parts = db.role === "replica" ? [`behind by ${behind(db)}`] : [];
    if (pace !== null) parts.push(rate(pace));
    parts.push(count(db.streams.length, "follower"));
    if (db.gone?.length) parts.push(`${db.gone.length} gone`);
    put(head.line, parts.join(" · "));
  }

  #draw() {
    this.topology.update(this.db, this.history);
    for (const chart of this.charts) chart.update(this.history, this.db.path);
    sync(this.facts, facts(this.db), ([name]) => name, ([name]) => el("div", {}, el("dt", {}, name), el("dd")), (div, [, text]) => put(div.lastChild, text));
    this.#errors();
  }

  #errors() {
    const { db } = this, all = (db.errors || []).toReversed(), now = new Date(db.at);
    this.noErrors.hidden = all.length > 0;
    sync(this.errors, all, (e) => e.at + e.error, () => el("li", {}, el("time"), el("span", { class: "for" }), el("span", { class: "text" })), (li, e) => {
      level(li, e.until ? "idle" : "bad");
      put(li.children[0], moment(new Date(e.at), now));
      put(li.children[1], e.until ? `over after ${duration(seconds(e.at, e.until))}` : `stands, for ${age(seconds(e.at, db.at))}`);
      put(li.children[2], e.error);
    });
  }
}

// facts are what else there is to say.
function facts(db) {
  const all = [
    ["Position", txid(db.pos) ? `TXID ${txid(db.pos)}` : "none yet"],
    ["Size", `${bytes(db.sizePages * db.pageSizeBytes)}, ${count(db.sizePages, "page")}`],
    ["Log", bytes(db.logBytes) + (/[^0]/.test(db.logFirstTXID) ? ` from TXID ${db.logFirstTXID}` : "")],
    ["WAL", wal(db)],
  ];
  if (db.role === "replica") all.push(["Upstream", `${db.upstream}${db.distance > 1 ? `, ${count(db.distance, "server")} from the primary` : ""}`]);
  return all;
}

function wal(db) {
  let text = bytes(db.walBytes);
  if (db.walHeld) text += `, held at frame ${db.walHeldAtFrame ?? 0} of ${db.walFrames}`;
  if (db.walHeldByCommand) text += ` by ${db.walHeldByCommand} (${db.walHeldByPID})`;
  return text;
}
