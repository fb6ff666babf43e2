// Asks this Weir for /status every second and shows the answers.

import { el, put, level, sync } from "./dom.js";
import { worst } from "./judge.js";
import { age, clock, count } from "./units.js";
import { DatabaseView } from "./view.js";

const every = 1000, patience = 5000, lateAfter = 3000; // milliseconds
const openUpTo = 4; // databases that are shown in full from the start

// Without the token that may stand in the page's own address: a request for such a one is refused by the browser.
const statusURL = new URL("status", location.origin + location.pathname);

const byId = (id) => document.getElementById(id);
const views = new Map(); // path -> DatabaseView
let answered = 0; // when Weir last answered, by performance.now()
let answeredAt = new Date(); // the same by the clock; before, when the page was opened
let trouble = ""; // why there is no newer answer

async function ask() {
  const answer = await fetch(statusURL, { cache: "no-store", signal: AbortSignal.timeout(patience) });
  if (answer.status === 401 || answer.status === 403) throw new Refused();
  if (!answer.ok) throw new Error(`it answers ${answer.status}`);
  return answer.json();
}

// Refused says that the token is not valid any more. To ask on would have the browser ask for another every second.
class Refused extends Error {}

async function run() {
  for (;;) {
    const began = performance.now();
    try {
      const all = await ask();
      answered = performance.now();
      answeredAt = new Date();
      trouble = "";
      show(all);
    } catch (err) {
      if (err instanceof Refused) return refuse();
      trouble = err.name === "TimeoutError" ? "" : err instanceof TypeError ? "the connection fails" : err.message;
      for (const view of views.values()) view.silent();
      tick();
    }
    await new Promise((done) => setTimeout(done, Math.max(0, every - (performance.now() - began))));
  }
}

function refuse() {
  clearInterval(ticking);
  silence("Weir wants another token: reload this page to give it.");
}

// tick says how long ago the last answer was, where that is too long.
function tick() {
  const late = performance.now() - answered;
  if (late < lateAfter && !(trouble && late > every)) return;
  const since = `since ${clock(answeredAt)}, for ${age(late / 1000)}`;
  silence(`Weir does not answer ${since}${trouble && ` (${trouble})`}. ${views.size ? "What stands below is from then." : ""}`);
}

function silence(text) {
  document.body.classList.add("silent");
  byId("silence").hidden = false;
  put(byId("silence"), text);
  verdict("bad", "no answer");
}

function show(all) {
  document.body.classList.remove("silent");
  byId("silence").hidden = true;
  for (const db of all) {
    if (!views.has(db.path)) views.set(db.path, new DatabaseView(db.path, all.length <= openUpTo));
    views.get(db.path).update(db);
  }
  for (const path of [...views.keys()]) if (!all.some((db) => db.path === path)) views.delete(path);
  const shown = all.map((db) => views.get(db.path));
  sync(byId("databases"), shown, (v) => v.db.path, (v) => v.root, () => {});
  byId("empty").hidden = all.length > 0;
  showProblems(shown.flatMap((v) => v.problems), all.length);
  put(byId("asked"), `as of ${clock(answeredAt)}`);
}

function showProblems(problems, databases) {
  const bad = problems.toSorted((a, b) => a.level.localeCompare(b.level)); // bad before warn
  byId("problems").hidden = !bad.length;
  sync(byId("problems").firstElementChild, bad, (p) => p.key, () => el("li", {}, el("span", { class: "path" }), el("span", { class: "text" })), (li, p) => {
    level(li, p.level);
    put(li.children[0], databases > 1 ? p.path : "");
    put(li.children[1], p.text);
  });
  if (bad.length) verdict(worst(bad.map((p) => p.level)), count(bad.length, "problem"));
  else verdict("ok", databases ? "all is well" : "no database");
}

function verdict(value, text) {
  level(byId("verdict"), value);
  put(byId("verdict"), text);
  document.title = `${value === "ok" ? "" : `(${text}) `}${location.host} – Weir`;
}

put(byId("host"), location.host);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => views.forEach((view) => view.redraw()));
const ticking = setInterval(tick, every);
run();
