// The drawing of who follows whom: nodes are boxes of text in columns (on a phone, in an indented list), links are lines
// behind them.

import { el, svg, put, level, sync } from "./dom.js";
import { behind, followerState, ownState, seconds, shortName, txid } from "./judge.js";
import { age, bytes, count, rate } from "./units.js";

// columns lists the nodes from the primary on, in columns. A node follows the one with number from in the column before;
// by order, each stands before those that follow it.
export function columns(db, history) {
  const all = [];
  let order = 0;
  const add = (node, depth, from) => (all[depth] ??= []).push({ ...node, from, order: order++ }) - 1;
  const chain = [...above(db), here(db, history)];
  chain.forEach((node, depth) => add(node, depth, 0));
  addBelow(db, db, { add, path: db.path, pace: (key) => pace(history, key) }, chain.length, 0, "");
  return all;
}

// addBelow adds who follows, and then who follows those, as it was said of them at a time: the parent's.
function addBelow(of, { at, ackedAt = at }, to, depth, from, key) {
  for (const f of of.streams || []) {
    const node = follower(f, ackedAt, to);
    node.key = key + node.key;
    addBelow(f, f, { ...to, pace: () => "" }, depth + 1, to.add(node, depth, from), `${node.key} `);
  }
  for (const g of of.gone || []) to.add(missing(g, ackedAt, to.path, key), depth, from);
}

function pace(history, key) {
  const perSecond = history.newest(key, "rate");
  return perSecond === null ? "" : `, ${rate(perSecond)}`;
}

function here(db, history) {
  const own = ownState(db);
  return {
    key: "here", title: db.path, kind: `${db.role}, here`, level: own.level, word: own.word, link: own.word === "not connected" || own.word === "behind" ? own.level : "ok",
    line: db.role === "replica" ? `behind by ${behind(db)}${pace(history, "")}` : `${bytes(db.sizePages * db.pageSizeBytes)}${pace(history, "")}`,
  };
}

// above is what lies between the primary and here, as far as it is known, one after another.
function above(db) {
  if (db.role !== "replica") return [];
  const state = db.connected ? { level: "ok", word: "connected" } : { level: "bad", word: "not connected" };
  const upstream = { key: "upstream", title: db.upstream, href: db.upstream, kind: db.distance === 1 ? "primary" : db.distance ? "replica" : "upstream", ...state, line: txid(db.upstreamPos) && `TXID ${txid(db.upstreamPos)}`, link: "idle" };
  if (!(db.distance > 1)) return [upstream];
  const between = db.distance - 2;
  return [{ key: "primary", title: "primary", kind: between ? `${count(between, "replica")} between` : "", level: "idle", word: "", line: "" }, upstream];
}

function follower(f, at, { path, pace }) {
  const state = followerState(f, at), key = f.name || f.addr;
  const line = txid(f.pos) ? `behind by ${behind(f)}${pace(key)}` : `for ${age(seconds(f.since, at))}`;
  return { key: `stream ${f.addr} ${f.since}`, title: f.name ? shortName(f.name, path) : f.addr, kind: f.ackedAt || f.name ? "replica" : "reader", note: f.name ? f.addr : "", ...state, line, link: state.level };
}

function missing(g, at, path, key) {
  return { key: `${key}gone ${g.name}`, title: shortName(g.name, path), kind: "replica", note: g.addr, level: "bad", word: "gone", line: `for ${age(seconds(g.at, at))}: ${g.reason}`, link: "bad" };
}

const columnWidth = 220; // pixels, the least that a column has: with less, the nodes are a list

export class Topology {
  constructor() {
    this.lines = svg("svg", { "aria-hidden": "true" });
    this.columns = el("div", { class: "columns" });
    this.root = el("div", { class: "topology" }, this.lines, this.columns);
    new ResizeObserver(() => this.#draw()).observe(this.root);
  }

  update(db, history) {
    this.shown = columns(db, history);
    sync(this.columns, this.shown.map((nodes, i) => ({ nodes, key: `${nodes[0].key.split(" ")[0] === "here" ? "here" : i}` })), (c) => c.key,
      () => el("ul", { class: "column" }),
      (ul, column) => sync(ul, column.nodes, (n) => n.key, makeNode, updateNode));
    [...this.columns.children].forEach((ul, depth) => ul.style.setProperty("--depth", depth));
    this.#draw();
  }

  #draw() {
    if (!this.shown || !this.root.clientWidth) return;
    const stacked = this.root.clientWidth < columnWidth * this.shown.length;
    this.root.classList.toggle("stacked", stacked);
    const box = this.root.getBoundingClientRect();
    this.lines.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const uls = [...this.columns.children], links = [];
    for (let i = 1; i < uls.length; i++) {
      this.shown[i].forEach((node, j) => {
        const from = uls[i - 1].children[node.from].getBoundingClientRect();
        const to = uls[i].children[j].getBoundingClientRect();
        links.push({ node, ...(stacked ? elbow(from, to, box) : curve(from, to, box)) });
      });
    }
    sync(this.lines, links, (l) => l.node.key, makeLink, updateLink);
  }
}

function makeNode(node) {
  const title = /^https?:/.test(node.href || "") ? el("a", { href: node.href, rel: "noreferrer" }) : el("span");
  title.classList.add("title");
  return el("li", { class: "node" }, el("span", { class: "kind" }), el("span", { class: "state" }), title, el("span", { class: "note" }), el("span", { class: "line" }));
}

function updateNode(li, node) {
  level(li, node.level);
  li.style.order = node.order;
  const [kind, state, title, note, line] = li.children;
  put(kind, node.kind);
  put(state, node.word);
  put(title, node.title);
  put(note, node.note || "");
  put(line, node.line || "");
}

// curve leads from a box to one in the next column.
function curve(from, to, box) {
  const x1 = from.right - box.left, y1 = from.top + from.height / 2 - box.top;
  const x2 = to.left - box.left, y2 = to.top + to.height / 2 - box.top, mid = (x1 + x2) / 2;
  return { d: `M${x1} ${y1}C${mid} ${y1} ${mid} ${y2} ${x2} ${y2}`, x: mid, y: (y1 + y2) / 2, end: { x: x2, y: y2 } };
}

// elbow leads from a box to one that is indented below it.
function elbow(from, to, box) {
  const x1 = from.left - box.left + 12, y1 = from.bottom - box.top;
  const x2 = to.left - box.left, y2 = to.top + to.height / 2 - box.top;
  return { d: `M${x1} ${y1}V${y2 - 8}Q${x1} ${y2} ${x1 + 8} ${y2}H${x2}`, x: x1, y: y2 - 16, end: { x: x2, y: y2 } };
}

function makeLink() {
  return svg("g", {}, svg("path", { class: "wire" }), svg("path", { class: "head" }), svg("path", { class: "cut" }));
}

function updateLink(g, link) {
  level(g, link.node.link);
  const [wire, head, cut] = g.children;
  wire.setAttribute("d", link.d);
  head.setAttribute("d", `M${link.end.x - 7} ${link.end.y - 5}l6 5l-6 5`);
  const down = ["gone", "not connected"].includes(link.node.word) || link.node.word.startsWith("silent");
  cut.setAttribute("d", down ? `M${link.x - 5} ${link.y - 5}l10 10m0 -10l-10 10` : "");
}
