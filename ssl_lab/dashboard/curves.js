// The curves of the chosen runs: what the server sends is merged by the rule that ssl_lab/runfolder/curves.py states.
import { element } from "./list.js";

const panels = new Map();  // by name: { figure, plot, caption, dirty, visible }

export function merge(known, sent) {
  const curves = sent.whole ? {} : known.curves;
  for (const [name, { every, count, last, points }] of Object.entries(sent.curves)) {
    const before = curves[name] ?? { every, points: [] };
    const kept = before.points.filter((_, i) => i % (every / before.every) === 0);
    curves[name] = { every, count, last, points: kept.concat(points) };
  }
  return { ...sent, curves };
}

// `order`: of groups, from the server; `hidden`: names that the cards show
export function names(read, { order, hidden }) {
  const all = [...new Set(read.flatMap((run) => Object.keys(run.curves)))].filter((name) => !hidden.includes(name));
  const place = (name) => (order.indexOf(name.split("/")[0]) + order.length + 1) % (order.length + 1);
  return all.sort((a, b) => place(a) - place(b) || b.endsWith("/loss") - a.endsWith("/loss") || a.localeCompare(b));
}

// an exponential mean, with Adam's correction for its beginning; a gap stays one
function smoothed(values, weight) {
  let mean = 0, steps = 0;
  return values.map((value) => {
    if (value === null || !weight) return value;
    steps += 1;
    mean = weight * mean + (1 - weight) * value;
    return mean / (1 - weight ** steps);
  });
}

function traces(name, chosen, state) {
  return chosen.filter((run) => run.curves[name]).map((run) => {
    const { points, last } = run.curves[name];
    const all = points.length && points.at(-1)[0] === last[0] ? points : [...points, last];
    return {
      x: all.map((point) => point[0]), y: smoothed(all.map((point) => point[1]), state.smooth), name: run.title,
      mode: all.length < 30 ? "lines+markers" : "lines", line: { color: run.colour, width: 1.8, dash: run.dash },
      hovertemplate: "%{y:.5g}<extra>%{fullData.name}</extra>",
    };
  });
}

function thinned(name, chosen) {
  const parts = chosen.filter((run) => run.curves[name]?.every > 1);
  return parts.map((run) => `${run.title}: every ${run.curves[name].every}th of ${run.curves[name].count.toLocaleString("en")} points`).join("; ");
}

function plotted(name, chosen, state) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((key) => style.getPropertyValue(key).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const panel = panels.get(name);
  panel.caption.textContent = [state.smooth ? `smoothed ${state.smooth}` : "", thinned(name, chosen)].filter(Boolean).join("; ");
  Plotly.react(panel.plot, traces(name, chosen, state), {
    title: { text: "", automargin: true }, margin: { l: 44, r: 10, t: 8, b: 30 }, showlegend: false, hovermode: "x unified",
    hoverlabel: { bgcolor: style.getPropertyValue("--paper").trim() }, uirevision: name, font: { color: ink, size: 11 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: { ...axis, type: state.log ? "log" : "linear" },
  }, { responsive: true, displayModeBar: false });
  panel.dirty = false;
}

let redraw = () => {};
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) panels.get(target.dataset.name).visible = isIntersecting;
  redraw();
}, { rootMargin: "300px" });

function panel(name) {
  const [plot, caption] = [element("div", { className: "panel" }), element("figcaption")];
  const figure = element("figure", {}, element("strong", {}, name.split("/").slice(1).join("/") || name), plot, caption);
  figure.dataset.name = name;
  panels.set(name, { figure, plot, caption, dirty: true, visible: false });
  seen.observe(figure);
  return panels.get(name);
}

function removed(name) {
  const { figure, plot } = panels.get(name);
  seen.unobserve(figure);
  Plotly.purge(plot);
  figure.remove();
  panels.delete(name);
}

// `changed`: names of curves that have new points, or null where all are to be drawn anew
export function draw(chosen, state, changed) {
  const wanted = names(chosen, state).filter((name) => name.includes(state.names) && chosen.some((run) => run.curves[name]?.count > 1));
  const place = document.getElementById("curves");
  const before = [...panels.keys()];
  before.filter((name) => !wanted.includes(name)).forEach(removed);
  if (wanted.join() !== before.join()) {
    const groups = Map.groupBy(wanted, (name) => name.split("/")[0]);
    place.replaceChildren(...[...groups].flatMap(([group, members]) => [
      element("h3", {}, group), element("div", { className: "grid wide" }, ...members.map((name) => (panels.get(name) ?? panel(name)).figure)),
    ]));
    if (!wanted.length) place.replaceChildren(element("p", {}, chosen.length ? "Nothing has been logged twice yet." : "Choose runs in the list."));
  }
  for (const [name, one] of panels) one.dirty ||= changed === null || changed.has(name);
  redraw = () => [...panels].filter(([, one]) => one.visible && one.dirty).forEach(([name]) => plotted(name, chosen, state));
  redraw();
}
