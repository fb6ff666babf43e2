// The drawing of who follows whom: nodes are boxes of text in columns (on a phone, in an indented list), links are lines
// behind them.

import { el, svg, put, level, sync } from "./dom.js";
import { behind, followerState, ownState, seconds, shortName, txid } from "./judge.js";
import { age, bytes, count, rate } from "./units.js";

// columns lists the nodes from the primary on, in columns; a node follows the first one of the column before.
export function columns(db, history) {
  const pace = (key) => {
    const perSecond = history.newest(key, "rate");
    return perSecond === null ? "" : `, ${rate(perSecond)}`;
  };
  const own = ownState(db);
  const here = {
    key: "here", title: db.path, kind: `${db.role}, here`, level: own.level, word: own.word, link: own.word === "not connected" || own.word === "behind" ? own.level : "ok",
    line: db.role === "replica" ? `behind by ${behind(db)}${pace("")}` : `${bytes(db.sizePages * db.pageSizeBytes)}${pace("")}`,
  };
  const all = [...above(db), [here], [...db.streams.map((f) => follower(f, db, pace)), ...(db.gone || []).map((g) => missing(g, db))]];
  return all.filter((column) => column.length);
}

// above is what lies between the primary and here, as far as it is known.
function above(db) {
  if (db.role !== "replica") return [];
  const state = db.connected ? { level: "ok", word: "connected" } : { level: "bad", word: "not connected" };
  const upstream = { key: "upstream", title: db.upstream, href: db.upstream, kind: db.distance === 1 ? "primary" : db.distance ? "replica" : "upstream", ...state, line: txid(db.upstreamPos) && `TXID ${txid(db.upstreamPos)}`, link: "idle" };
  if (!(db.distance > 1)) return [[upstream]];
  const between = db.distance - 2;
  return [[{ key: "primary", title: "primary", kind: between ? `${count(between, "replica")} between` : "", level: "idle", word: "", line: "" }], [upstream]];
}

function follower(f, db, pace) {
  const state = followerState(f, db.at), key = f.name || f.addr;
  const line = txid(f.pos) ? `behind by ${behind(f)}${pace(key)}` : `for ${age(seconds(f.since, db.at))}`;
  return { key: `stream ${f.addr} ${f.since}`, title: f.name ? shortName(f.name, db.path) : f.addr, kind: f.ackedAt || f.name ? "replica" : "reader", note: f.name ? f.addr : "", ...state, line, link: state.level };
}

function missing(g, db) {
  return { key: `gone ${g.name}`, title: shortName(g.name, db.path), kind: "replica", note: g.addr, level: "bad", word: "gone", line: `for ${age(seconds(g.at, db.at))}: ${g.reason}`, link: "bad" };
}

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
    [...this.columns.children].forEach((ul, depth) => { ul.dataset.depth = Math.min(depth, 3); });
    this.#draw();
  }

  #draw() {
    if (!this.shown || !this.root.clientWidth) return;
    const box = this.root.getBoundingClientRect();
    this.lines.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const stacked = getComputedStyle(this.columns).flexDirection === "column";
    const uls = [...this.columns.children], links = [];
    for (let i = 1; i < uls.length; i++) {
      const from = uls[i - 1].children[0].getBoundingClientRect();
      this.shown[i].forEach((node, j) => {
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
