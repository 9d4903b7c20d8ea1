"use strict";

/* ---- tables: a click on a header sorts by its column, a second one the other way round */
function valueOf(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value;
  return value === undefined ? cell.textContent.trim() : value === "" ? null : Number(value);
}

function sortTable(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const before = header.getAttribute("aria-sort");
  const first = header.dataset.first;
  const other = first === "descending" ? "ascending" : "descending";
  const order = before === first ? other : first;
  const sign = order === "descending" ? -1 : 1;
  const rows = [...table.tBodies[0].rows];
  const values = new Map(rows.map((row) => [row, valueOf(row, column)]));
  rows.sort((a, b) => {
    const [x, y] = [values.get(a), values.get(b)];
    if (x === null || y === null) return (x === null) - (y === null); /* no number: last */
    if (typeof x === "number" && typeof y === "number") return sign * (x - y);
    return sign * String(x).localeCompare(String(y), undefined, { numeric: true });
  });
  table.tBodies[0].append(...rows);
  for (const one of table.querySelectorAll("th[aria-sort]")) one.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
}

for (const button of document.querySelectorAll("th .sort")) {
  button.addEventListener("click", () => sortTable(button.closest("th")));
}

/* ---- explanations: beside the button that opened them */
let opener = null;
for (const button of document.querySelectorAll(".about")) {
  button.addEventListener("click", () => { opener = button; });
}
for (const box of document.querySelectorAll(".explanation[popover]")) {
  box.addEventListener("toggle", (event) => {
    if (event.newState !== "open" || !opener) return;
    const place = opener.getBoundingClientRect();
    const left = Math.min(place.left, innerWidth - box.offsetWidth - 8);
    const below = place.bottom + 6;
    const fits = below + box.offsetHeight < innerHeight;
    box.style.left = `${Math.max(8, left)}px`;
    box.style.top = `${fits ? below : Math.max(8, place.top - box.offsetHeight - 6)}px`;
  });
}

/* ---- pictures: large in a dialog, with the arrow keys from one to the next */
const dialog = document.getElementById("large");
const shown = [...document.querySelectorAll(".enlarge")];
let current = 0;

function show(number) {
  current = (number + shown.length) % shown.length;
  const stage = dialog.querySelector(".stage");
  stage.replaceChildren(shown[current].querySelector("picture").cloneNode(true));
  stage.scrollTo(0, 0);
  dialog.querySelector("strong").textContent = shown[current].dataset.title;
  const caption = shown[current].closest("figure").querySelector("figcaption");
  dialog.querySelector(".caption").textContent = caption ? caption.textContent : "";
}

function fit(whole) {
  dialog.querySelector(".stage").classList.toggle("fit", whole);
  const button = dialog.querySelector(".size");
  button.textContent = whole ? "Full size" : "Fit to window";
}

shown.forEach((button, number) => button.addEventListener("click", () => {
  show(number);
  fit(innerWidth > 900); /* a phone would show it as small as the page does */
  dialog.showModal();
}));
dialog.querySelector(".previous").addEventListener("click", () => show(current - 1));
dialog.querySelector(".next").addEventListener("click", () => show(current + 1));
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.querySelector(".size").addEventListener("click", () => {
  fit(!dialog.querySelector(".stage").classList.contains("fit"));
});
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") show(current - 1);
  if (event.key === "ArrowRight") show(current + 1);
});

/* ---- plots: colours of light and dark pages, and lines that the legend shows and hides */
const darkPage = matchMedia("(prefers-color-scheme: dark)");

function models() {
  if (!window.Bokeh) return [];
  return Bokeh.documents.flatMap((one) => [...one.all_models]);
}

function paintPlots() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--text", "--line"].map((name) => style.getPropertyValue(name).trim());
  for (const model of models()) {
    if (model.type.endsWith("Axis")) {
      Object.assign(model, {
        axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: ink,
        major_tick_line_color: ink, minor_tick_line_color: ink, axis_label_text_font_style: "normal",
      });
    } else if (model.type === "Grid") {
      model.grid_line_color = line;
    } else if (model.tags[0] === "by column") {
      model.fill_color = { field: darkPage.matches ? "dark" : "light" };
      if (model.tags.length > 1) model.line_color = { value: model.tags[darkPage.matches ? 2 : 1] };
    } else if (model.tags.length === 2) {
      const colour = { value: model.tags[darkPage.matches ? 1 : 0] };
      if ("fill_color" in model) model.fill_color = colour;
      model.line_color = colour;
    } else if (model.type === "Toolbar" && matchMedia("(pointer: coarse)").matches) {
      model.active_drag = null; /* a finger scrolls the page until a tool is chosen */
    }
  }
}

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const visible = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(visible));
    const places = button.closest("figure").querySelectorAll("[data-root-id]");
    const roots = [...places].map((place) => place.dataset.rootId);
    for (const plot of models().filter((model) => roots.includes(model.id))) {
      for (const drawn of plot.renderers) {
        if (drawn.name === button.dataset.lines) drawn.visible = visible;
      }
    }
  });
}

const places = document.querySelectorAll("[data-root-id]").length;
const waiting = places && setInterval(() => {
  const roots = window.Bokeh ? Bokeh.documents.flatMap((one) => one.roots()) : [];
  if (roots.length < places) return;
  clearInterval(waiting);
  paintPlots();
  document.body.dataset.plots = "ready";
}, 50);
darkPage.addEventListener("change", paintPlots);
