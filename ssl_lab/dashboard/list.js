// The list of runs: filter, sort, choose. All text of runs goes into the page as text, never as HTML.

const COLUMNS = ["run", "state", "started", "seconds", "task", "data", "objective", "backbone", "head", "seed"];
const SCORES = ["knn", "linear", "score", "perplexity", "rankme", "loss"];
const SHOWN = 200;
const COMPARED = { ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "=": (a, b) => a == b };

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function length(seconds) {
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days >= 2) return `${days} d`;
  if (hours >= 1) return `${hours} h ${minutes % 60} min`;
  return minutes >= 1 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

export function ago(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [0, "s"]].find(([size]) => seconds >= 2 * size);
  return `${Math.max(0, Math.floor(seconds / (size || 1)))} ${unit} ago`;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? value.toLocaleString("en", { maximumSignificantDigits: 4 }) : value.toExponential(2);
}

// words that all have to occur, and comparisons: knn>0.8, state=running
export function passes(run, filter) {
  return filter.trim().split(/\s+/).every((word) => {
    const [, name, sign, value] = word.match(/^([\w.\/]+)(>=|<=|=|<|>)(.+)$/) ?? [];
    if (!name) return `${run.run} ${run.state} ${run.task} ${run.objective ?? ""} ${run.data ?? ""}`.toLowerCase().includes(word.toLowerCase());
    const own = run[name];
    if (own === undefined || own === null) return false;
    return typeof own === "number" ? COMPARED[sign](own, Number(value)) : COMPARED[sign](String(own), value);
  });
}

export function sorted(runs, { by, down }) {
  const known = runs.filter((run) => run[by] !== undefined && run[by] !== null);
  const compared = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));
  known.sort((a, b) => (down ? -1 : 1) * compared(a[by], b[by]));
  return [...known, ...runs.filter((run) => !known.includes(run))];
}

export function scores(runs) {
  const all = new Set(runs.flatMap((run) => Object.keys(run).filter((name) => typeof run[name] === "number" && !COLUMNS.includes(name))));
  return [...SCORES.filter((name) => all.has(name)), ...[...all].filter((name) => !SCORES.includes(name)).sort()];
}

function cell(run, name, now) {
  if (name === "run") return element("td", { className: "run", title: run.run }, element("bdi", {}, run.run));
  if (name === "state") return element("td", {}, element("span", { className: `state ${run.state}` }, run.state));
  if (name === "started") return element("td", { title: run.started }, ago((now - Date.parse(run.started)) / 1000));
  if (name === "seconds") return element("td", {}, length(run.seconds ?? (now - Date.parse(run.started)) / 1000));
  if (name === "error") return element("td", { className: "error", title: run.error ?? "" }, run.error ?? "");
  if (name === "seed" || typeof run[name] !== "number") return element("td", {}, String(run[name] ?? ""));
  return element("td", { className: "number" }, number(run[name]));
}

// `state`: filter, sort, score, chosen and colours of the page; `toggle(run)`, `sort(name)`: what clicks do
export function draw(runs, state, now, toggle, sort) {
  const values = (name) => new Set(runs.map((run) => run[name] ?? ""));
  const always = ["run", "state", "started", "seconds"];
  const alike = COLUMNS.filter((name) => !always.includes(name) && values(name).size === 1);  // in each row the same, they are said below
  const columns = [...COLUMNS.filter((name) => !alike.includes(name)), ...(state.score ? [state.score] : []), ...(values("error").size > 1 ? ["error"] : [])];
  const titles = { started: "begun", seconds: "took" };
  document.getElementById("heads").replaceChildren(element("th"), ...columns.map((name) => {
    const mark = state.sort.by === name ? (state.sort.down ? " ▼" : " ▲") : "";
    return element("th", {}, element("button", { type: "button", onclick: () => sort(name) }, (titles[name] ?? name) + mark));
  }));
  const found = sorted(runs.filter((run) => passes(run, state.filter)), state.sort);
  document.getElementById("rows").replaceChildren(...found.slice(0, SHOWN).map((run) => {
    const box = element("input", { type: "checkbox", checked: state.chosen.includes(run.run), ariaLabel: `show ${run.run}` });
    const mark = element("td", {}, box);
    if (box.checked) mark.style.boxShadow = `inset 4px 0 ${state.colour(run.run)}`;
    return element("tr", { onclick: () => toggle(run.run) }, mark, ...columns.map((name) => cell(run, name, now)));
  }));
  const cut = found.length > SHOWN ? `; the first ${SHOWN} of them are shown: filter for others` : "";
  const same = alike.map((name) => [name, runs[0]?.[name]]).filter(([, value]) => value !== undefined && value !== null);
  const of = same.length ? `, all with ${same.map((pair) => pair.join(" ")).join(", ")}` : "";
  return `${found.length.toLocaleString("en")} of ${runs.length.toLocaleString("en")} runs${of}${cut}`;
}
