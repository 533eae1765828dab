// The figures take the page's colours, in light and in dark; on a map, the item under the pointer is shown.
const figures = [...document.querySelectorAll(".js-plotly-plot")];

function colour() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  for (const figure of figures) {
    const change = { "font.color": ink };
    for (const axis of Object.keys(figure.layout).filter((key) => /^[xy]axis/.test(key))) {
      Object.assign(change, { [axis + ".gridcolor"]: line, [axis + ".zerolinecolor"]: line, [axis + ".linecolor"]: line });
    }
    Plotly.relayout(figure, change);
  }
}

const look = document.getElementById("look");
for (const figure of figures.filter((figure) => figure.closest("[data-looks]"))) {
  const looks = JSON.parse(document.getElementById(figure.closest("[data-looks]").dataset.looks).textContent);
  figure.on("plotly_hover", ({ points: [point], event }) => {
    look.replaceChildren();
    look.insertAdjacentHTML("beforeend", looks[point.customdata]);
    look.append(point.data.name);
    look.style.display = "block";
    look.style.left = Math.min(event.clientX + 12, innerWidth - look.offsetWidth - 8) + "px";
    look.style.top = Math.min(event.clientY + 12, innerHeight - look.offsetHeight - 8) + "px";
  });
  figure.on("plotly_unhover", () => (look.style.display = "none"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colour);
colour();
