// The page: asks the server for what is new, keeps what is chosen in the address, and draws.
import * as curves from "./curves.js";
import * as list from "./list.js";
import { element, length, number } from "./list.js";

const EVERY = 2000;  // milliseconds
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#999999"];  // Okabe & Ito
const DASHES = ["solid", "dash", "dashdot", "longdash"];
const COLLAPSED = 0.02;  // of health/feature_std, as ssl_lab/callbacks/health.py has it
const find = (id) => document.getElementById(id);

const address = new URLSearchParams(location.hash.slice(1));
const state = {
  chosen: address.getAll("run"), filter: address.get("filter") ?? "", score: address.get("score"), smooth: 0, log: false, names: "", order: [], hidden: [],
  sort: { by: address.get("sort") ?? "started", down: address.get("down") !== "0" },
  colour: (run) => COLOURS[slots.get(run) % COLOURS.length],
};
const slots = new Map();  // the colour of a run stays while others come and go
let listing = { runs: [], tag: null }, read = new Map(), about = new Map(), clock = 0, drawn = 0;

async function ask(path, options = {}) {
  const response = await fetch(`${path}?${new URLSearchParams(options)}`);
  clock = Date.parse(response.headers.get("Date")) - Date.now();
  const answer = await response.json();
  return { ...answer, status: response.status, tag: response.headers.get("ETag") };
}
const now = () => Date.now() + clock;

function keep() {
  const options = new URLSearchParams(state.chosen.map((run) => ["run", run]));
  if (state.filter) options.set("filter", state.filter);
  if (state.score) options.set("score", state.score);
  options.set("sort", state.sort.by);
  options.set("down", state.sort.down ? "1" : "0");
  history.replaceState(null, "", `#${options}`);
}

function choose(runs) {
  state.chosen = runs;
  for (const run of slots.keys()) if (!runs.includes(run)) slots.delete(run);
  for (const run of runs) {
    const used = [...slots.values()];
    if (!slots.has(run)) slots.set(run, [...Array(used.length + 1).keys()].find((slot) => !used.includes(slot)));
  }
  for (const known of [read, about]) for (const run of known.keys()) if (!runs.includes(run)) known.delete(run);
  keep();
}

function toggle(run) {
  choose(state.chosen.includes(run) ? state.chosen.filter((one) => one !== run) : [...state.chosen, run]);
  drawList();
  refresh(true);
}

function sort(by) {
  state.sort = { by, down: state.sort.by === by ? !state.sort.down : true };
  keep();
  drawList();
}

const row = (run) => listing.runs.find((one) => one.run === run);
const stateOf = (run) => row(run)?.state ?? "deleted";
// name, objective and seed of each chosen run; with its folder where that does not tell them apart
function titles() {
  const parts = ({ name, objective, seed }) => [name, objective, seed === null ? null : `seed ${seed}`].filter(Boolean);
  const short = (run) => (row(run) ? parts(row(run)).join(", ") : run);
  const alike = (run) => state.chosen.filter((one) => short(one) === short(run)).length > 1;
  return new Map(state.chosen.map((run) => [run, alike(run) ? `${short(run)} (${run.split("/").at(-1)})` : short(run)]));
}

function drawList() {
  drawn = now();
  const names = list.scores(listing.runs);
  if (!state.score || !names.includes(state.score)) state.score = names[0] ?? null;
  find("score").replaceChildren(...names.map((name) => element("option", { selected: name === state.score }, name)));
  const said = list.draw(listing.runs, state, now(), toggle, sort);
  const more = listing.unknown ? `; ${listing.unknown} more do not say their state: they are damaged, or of an earlier version` : "";
  find("count").textContent = said + more;
  find("count").title = (listing.damaged ?? []).join("\n");
  find("folder").textContent = listing.folder ?? "";
}

function card(run, title) {
  const [known, facts, how] = [read.get(run), about.get(run), stateOf(run)];
  const last = (name) => known?.curves[name]?.last[1];
  const step = Math.max(0, ...Object.values(known?.curves ?? {}).map((curve) => curve.last[0]));
  const said = [row(run)?.task, `step ${number(step)}`].filter(Boolean).map((part) => ` · ${part}`);
  const lines = [element("p", {}, element("span", { className: `state ${how}` }, how), ...said)];
  const made = element("div", { className: "card" }, element("h3", { title: run }, title), ...lines);
  made.style.borderTopColor = state.colour(run);
  const say = (text, warn) => text && made.append(element("p", { className: warn ? "warn" : "" }, text));
  const share = last("speed/share_done");
  if (how === "running" && share !== undefined) made.append(element("progress", { value: share, max: 1, title: `${(100 * share).toFixed(1)} %` }));
  if (how === "running" && last("speed/seconds_left") !== undefined) {
    const end = known.changed * 1000 + last("speed/seconds_left") * 1000;
    const left = (end - now()) / 1000;
    say(left > 0 ? `${length(left)} left, the training ends ${new Date(end).toLocaleString()}` : "the training is at its end; scores are taken");
  }
  if (last("speed/items_per_second")) say(`${number(last("speed/items_per_second"))} items/s`);
  const [std, rank, loss] = ["health/feature_std", "health/rankme", "pretrain/loss"].map(last);
  say([loss === undefined ? "" : `loss ${number(loss)}`, rank === undefined ? "" : `RankMe ${number(rank)}`, std === undefined ? "" : `feature std ${number(std)}`].filter(Boolean).join(" · "));
  if (loss === null) say("the loss is not finite", true);
  if (typeof std === "number" && std < COLLAPSED) say("the features have collapsed: all items get nearly the same vector", true);
  if (how === "deleted") say("its folder was moved or deleted; what is shown was read before", true);
  if (row(run)?.error) say(row(run).error, true);
  if (facts?.error) say(facts.error, true);
  if (known?.error) say(known.error, true);
  if (known?.unreadable) say(`${number(known.unreadable)} lines of metrics.jsonl could not be read`, true);
  if (known?.left_out) say(`${number(known.left_out)} values are left out: the file has too many names`, true);
  if (facts?.files?.includes("report.html")) made.append(element("a", { href: `/file?${new URLSearchParams({ run, name: "report.html" })}`, target: "_blank", rel: "noopener" }, "report.html"));
  return made;
}

function table(place, head, rows) {
  find(place).replaceChildren(
    element("thead", {}, element("tr", {}, element("th"), ...head.map((text) => element("th", {}, text)))),
    element("tbody", {}, ...rows.map(([name, ...cells]) => element("tr", {}, element("th", {}, name), ...cells.map((text) => element("td", {}, text))))),
  );
}

function drawConfigs(named) {
  const configs = state.chosen.map((run) => about.get(run)?.config ?? {});
  const keys = [...new Set(configs.flatMap(Object.keys))].sort();
  const differs = (key) => new Set(configs.map((config) => config[key])).size > 1;
  const rows = (chosen) => chosen.map((key) => [key, ...configs.map((config) => config[key] ?? "–")]);
  const [other, same] = [keys.filter(differs), keys.filter((key) => !differs(key))];
  table("differs", other.length ? [...named.values()] : [], other.length ? rows(other) : [[configs.length > 1 ? "nothing" : "choose several runs to compare their configs"]]);
  find("same").textContent = configs.length > 1 ? `${same.length} keys are the same` : `${same.length} keys`;
  table("equal", [], same.map((key) => [key, configs[0][key]]));
}

function drawViews(named) {
  find("views").replaceChildren(...state.chosen.flatMap((run) => (about.get(run)?.files ?? []).filter((name) => name.startsWith("views.")).map((name) => {
    const source = `/file?${new URLSearchParams({ run, name })}`;
    const shown = name.endsWith(".png") ? element("img", { src: source, alt: `views of ${run}`, loading: "lazy" }) : element("iframe", { src: source, title: `views of ${run}`, loading: "lazy" });
    return element("figure", {}, element("strong", {}, named.get(run)), shown);
  })));
}

function draw(changed, more) {
  const named = titles();
  find("cards").replaceChildren(...state.chosen.map((run) => card(run, named.get(run))));
  const chosen = state.chosen.filter((run) => read.get(run)?.curves).map((run) => ({
    ...read.get(run), title: named.get(run), colour: state.colour(run), dash: DASHES[Math.floor(slots.get(run) / COLOURS.length) % DASHES.length],
  }));
  if (changed === null || changed.size) {
    curves.draw(chosen, state, changed);
    table("last", chosen.map((run) => run.title), curves.names(chosen, state).map((name) => [name, ...chosen.map((run) => number(run.curves[name]?.last[1]))]));
  }
  if (more) [drawConfigs, drawViews].forEach((part) => part(named));
}

// new points of a run into `changed`; of one that is over, they are asked for once
async function follow(run, changed) {
  const known = read.get(run) ?? { curves: {}, version: "", offset: 0, over: false };
  if (known.over || stateOf(run) === "deleted") return;
  const over = stateOf(run) !== "running";
  const sent = await ask("/api/curves", { run, version: known.version, since: known.offset });
  if (!state.chosen.includes(run)) return;
  if (sent.error) {
    read.set(run, { ...known, error: sent.error });
    return;
  }
  Object.keys(sent.whole ? { ...known.curves, ...sent.curves } : sent.curves).forEach((name) => changed.add(name));
  read.set(run, { ...curves.merge(known, sent), over: over && !sent.more, error: null });
}

// its config, and the files that it has made meanwhile
async function describe(run) {
  const facts = await ask("/api/run", { run });
  if (facts.tag !== about.get(run)?.tag && state.chosen.includes(run)) about.set(run, facts);
}

async function refreshed(whole) {
  const found = await ask("/api/runs");
  if (found.error) throw new Error(found.error);
  if (found.tag !== listing.tag) {
    const again = new Set(found.runs.filter((run) => run.state === "running").map((run) => run.run));
    listing = found;
    Object.assign(state, found.panels);
    for (const run of again) if (read.get(run)?.over) read.get(run).over = false;  // it goes on
    if (!state.chosen.length && !address.size) choose(first());
    drawList();
  } else if (now() - drawn > 30000) drawList();
  const changed = new Set(), before = [...about.values()];
  await Promise.all(state.chosen.map(async (run) => {
    const facts = about.get(run), how = stateOf(run);  // again while it makes its first files, and when it is over
    const again = !read.get(run)?.over && (how !== "running" || !facts?.files?.length);
    if (how !== "deleted" && (!facts || again)) await describe(run);
    await follow(run, changed);
  }));
  draw(whole ? null : changed, whole || [...about.values()].some((facts, i) => facts !== before[i]));
}

// at first, what is at work, or else what is newest
function first() {
  const newest = list.sorted(listing.runs, { by: "started", down: true });
  const working = newest.filter((run) => run.state === "running");
  return (working.length ? working : newest.slice(0, 1)).slice(0, COLOURS.length).map((run) => run.run);
}

let turn = Promise.resolve();
function refresh(whole) {
  turn = turn.then(() => refreshed(whole)).then(() => (find("trouble").hidden = true), (error) => {
    find("trouble").textContent = error instanceof TypeError ? "The dashboard has ended: start it again with ssl-lab dashboard." : String(error.message);
    find("trouble").hidden = false;
  });
  return turn;
}

async function forever() {
  if (!document.hidden) await refresh(false);
  const behind = state.chosen.some((run) => read.get(run)?.more);  // of a long file
  setTimeout(forever, behind ? 50 : EVERY);
}

find("filter").value = state.filter;
find("filter").oninput = ({ target }) => { state.filter = target.value; keep(); drawList(); };
find("score").onchange = ({ target }) => { state.score = target.value; keep(); drawList(); };
find("none").onclick = () => { choose([]); drawList(); refresh(true); };
find("smooth").oninput = ({ target }) => { state.smooth = Number(target.value); draw(null, false); };
find("log").onchange = ({ target }) => { state.log = target.checked; draw(null, false); };
find("names").oninput = ({ target }) => { state.names = target.value; draw(null, false); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(null, false));
choose(state.chosen);
refresh(true).then(forever);
