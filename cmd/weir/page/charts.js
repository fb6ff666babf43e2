// The charts of one database: one line for itself and one for each replica. Drawn by uPlot.

import { el, put, sync } from "./dom.js";
import { keepFor } from "./history.js";
import { shortName } from "./judge.js";
import { clock, duration, rate } from "./units.js";

const height = 190, colors = 8; // colors are --line0 to --line7 in the style sheet
const firstSpan = 60; // seconds that an axis shows at least

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Chart is one chart. of is what it shows of each track, write how a value of it is written, floor the least that its
// axis goes up to.
export class Chart {
  constructor(title, of, write, floor) {
    Object.assign(this, { of, write, floor });
    this.plot = null;
    this.place = el("div", { class: "plot", role: "img", "aria-label": title });
    this.legend = el("ul", { class: "legend" });
    this.at = el("span", { class: "at" });
    this.none = el("p", { class: "none" }, "Nothing to show yet.");
    this.root = el("figure", {}, el("figcaption", {}, title, " ", this.at), this.place, this.none, this.legend);
    new ResizeObserver(() => this.#resize()).observe(this.place);
  }

  // update shows the tracks of which there is something to show. It is cheap where the chart is not to be seen.
  update(history, path) {
    this.history = history;
    const all = [...history.tracks].map(([key, track], i) => ({ key, color: i % colors, label: shortName(track.label, path), values: track[this.of] }));
    this.tracks = all.filter((track) => track.values.some((v) => v !== null));
    this.none.hidden = this.tracks.length > 0;
    if (!this.place.clientWidth) return;
    const keys = this.tracks.map((t) => t.key + t.color).join("\n");
    if (!this.plot || keys !== this.keys) {
      this.keys = keys;
      this.redraw();
    } else {
      this.plot.setData(this.#data());
    }
    this.#legend();
  }

  // redraw draws anew, as for other colours.
  redraw() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.tracks || !this.place.clientWidth) return;
    this.plot = new uPlot(this.#options(), this.#data(), this.place);
  }

  #data() {
    return [this.history.times, ...this.tracks.map((t) => t.values)];
  }

  #options() {
    const axis = { stroke: style("--muted"), grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return {
      width: this.place.clientWidth, height,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
      scales: { x: { time: true, range: () => this.#span() }, y: { range: (_, __, max) => this.#range(max) } },
      axes: [
        { ...axis, size: 28, space: 80, values: (_, splits) => splits.map((s) => clock(new Date(s * 1000))) },
        { ...axis, size: 62, space: 34, values: (_, splits) => splits.map((s) => (s === 0 ? "0" : this.write(s))) },
      ],
      series: [{}, ...this.tracks.map((t) => ({ label: t.label, stroke: style(`--line${t.color}`), width: 2, points: { show: false } }))],
      hooks: { setCursor: [() => this.#legend()] },
    };
  }

  #span() {
    const last = this.history.times.at(-1) ?? 0, first = this.history.times[0] ?? 0;
    return [Math.max(last - keepFor, Math.min(first, last - firstSpan)), last];
  }

  // range begins a little below 0, so that a line at 0 is seen.
  #range(max) {
    const top = Math.max(max * 1.1, this.floor);
    return [-top / 30, top];
  }

  // legend says the values under the cursor, or else the newest.
  #legend() {
    const index = this.plot?.cursor.idx ?? null, i = index ?? this.history.times.length - 1;
    put(this.at, index === null ? "" : `at ${clock(new Date(this.history.times[i] * 1000))}`);
    sync(this.legend, this.tracks.map((t) => ({ ...t, value: t.values[i] })), (t) => t.key || "own", makeEntry, (li, t) => {
      li.dataset.color = t.color;
      put(li.children[1], t.label);
      put(li.children[2], t.value === null || t.value === undefined ? "–" : this.write(t.value));
    });
  }

  #resize() {
    const width = this.place.clientWidth;
    if (!width || !this.history) return;
    if (this.plot) this.plot.setSize({ width, height });
    else this.redraw();
  }
}

function makeEntry() {
  return el("li", {}, el("span", { class: "swatch" }), el("span", { class: "name" }), el("span", { class: "value" }));
}

export const lagChart = () => new Chart("Lag", "lag", duration, 0.1);
export const rateChart = () => new Chart("Transactions per second", "rate", rate, 5);
