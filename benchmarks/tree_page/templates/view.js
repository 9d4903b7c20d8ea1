"use strict";
// The rows in view are drawn alone, so that it does not matter how many are unfolded.
const tree = document.getElementById("tree"), rows = document.getElementById("rows");
const details = document.getElementById("details");
const SPARE_ROWS = 8, ROW_PICTURES = 5, DETAIL_PICTURES = 24, FEW = 40;

const open = new Set();
let shown = [];          // keys of all rows, from the top
let places = new Map();  // key -> its row, and its place among its siblings
let active = -1;         // the selected key
let drawn = new Map();   // key -> its element
let isShown = () => true;  // (key, whether a superclass of it matches); search.js sets it
let matches = new Set();
let highlighted = (key) => [document.createTextNode(nameOf(key))];

function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function image(picture, text) {
  const made = element("img");
  made.src = `data:image/webp;base64,${picture}`;
  made.alt = text;
  made.draggable = false;
  return made;
}

// ---------------------------------------------------------------- rows
function rebuild() {
  shown = [];
  places = new Map();
  const add = (parent, isBelowMatch) => {
    const siblings = childrenOf(parent).filter((key) => isShown(key, isBelowMatch));
    siblings.forEach((key, index) => {
      places.set(key, { row: shown.length, index, siblings: siblings.length });
      shown.push(key);
      if (open.has(key)) add(key, isBelowMatch || matches.has(key));
    });
  };
  add(-1, false);
  if (!places.has(active)) active = ancestorsOf(active).reverse().find((key) => places.has(key)) ?? shown[0] ?? -1;
  drawn = new Map();
  draw();
}

function rowHeight() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize)
    * parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
}

function draw() {
  const height = rowHeight();
  rows.style.height = `${shown.length * height}px`;
  const first = Math.max(0, Math.floor(tree.scrollTop / height) - SPARE_ROWS);
  const last = Math.min(shown.length, Math.ceil((tree.scrollTop + tree.clientHeight) / height) + SPARE_ROWS);
  const keys = shown.slice(first, last);
  if (active >= 0 && !keys.includes(active)) keys.push(active);  // aria-activedescendant needs it
  drawn = new Map(keys.map((key) => [key, drawn.get(key) ?? rowOf(key, height)]));
  rows.replaceChildren(...drawn.values());
  for (const [key, row] of drawn) row.setAttribute("aria-selected", key === active);
  if (active >= 0) tree.setAttribute("aria-activedescendant", `n${active}`);
  else tree.removeAttribute("aria-activedescendant");
}

function rowOf(key, height) {
  const { row, index, siblings } = places.get(key);
  const toggle = element("span", "toggle", hasChildren(key) ? "▸" : "");
  toggle.setAttribute("aria-hidden", "true");
  const label = element("span", "name", ...highlighted(key));
  label.title = fullName(key);
  const pictures = element("span", "pictures",
    ...picturesOf(key, ROW_PICTURES).map(({ picture }) => image(picture, "")));
  const made = element("div", "row", toggle, label, pictures, element("span", "sizes", sizesOf(key)), stableOf(key));
  made.id = `n${key}`;
  made.setAttribute("role", "treeitem");
  made.setAttribute("aria-level", topLevel - levelOf[key] + 1);
  made.setAttribute("aria-posinset", index + 1);
  made.setAttribute("aria-setsize", siblings);
  if (hasChildren(key)) made.setAttribute("aria-expanded", open.has(key));
  made.style.top = `${row * height}px`;
  made.style.setProperty("--depth", topLevel - levelOf[key] + 1);
  return made;
}

function stableOf(key) {
  const value = stabilityOf(key), made = element("span", "stable");
  if (value !== undefined) {
    const bar = element("span");
    bar.style.width = `${value}%`;
    const meter = element("span", "meter", bar);
    meter.setAttribute("aria-hidden", "true");
    made.append(meter, `${Math.round(value)}% stable`);
  } else if (levels[levelOf[key]].given && hasChildren(key)) {
    made.append("given");
  }
  return made;
}

function select(key) {
  active = key;
  const height = rowHeight(), top = places.get(key).row * height;
  if (top < tree.scrollTop) tree.scrollTop = top;
  else if (top + height > tree.scrollTop + tree.clientHeight) tree.scrollTop = top + height - tree.clientHeight;
  draw();
  showDetails(key);
}

function toggle(key, wanted = !open.has(key)) {
  if (!hasChildren(key) || open.has(key) === wanted) return;
  if (wanted) open.add(key); else open.delete(key);
  rebuild();
}

function reveal(key) {
  for (const above of ancestorsOf(key)) open.add(above);
  rebuild();
  if (places.has(key)) select(key);
}

// ---------------------------------------------------------------- the selected class
function showDetails(key) {
  const path = element("p", "path");
  for (const above of ancestorsOf(key)) path.append(linkTo(above), " › ");
  if (path.hasChildNodes()) path.append(nameOf(key));
  const facts = element("dl");
  const fact = (term, value) => facts.append(element("dt", "", term), element("dd", "", value));
  fact("Level", hasChildren(key) || levelOf[key] > 0
    ? `${levelOf[key]}, ${levels[levelOf[key]].given ? "a given superclass" : "a superclass"}` : "0, a class");
  if (fullName(key) !== nameOf(key)) fact("Full name", fullName(key));
  if (levelOf[key] > 1) fact("Superclasses", (childStart[key + 1] - childStart[key]).toLocaleString("en"));
  if (levelOf[key] > 0) fact("Classes", numClasses[key].toLocaleString("en"));
  if (data.counts) fact("Pictures", numPictures[key].toLocaleString("en"));
  const value = stabilityOf(key), parts = [element("h2", "", nameOf(key)), path, facts];
  if (value !== undefined) {
    fact("Stability", `${value}%, the mean over ${counted(data.updates - 1, "update", "updates")} after the first`);
    parts.push(element("h3", "", "Overlap with the update before (%)"), chartOf(key));
  } else if (levelOf[key] === 0 && data.moves && topLevel > 0 && !levels[1].given) {
    fact("Moves", `changed its superclass ${counted(data.moves[key], "time", "times")} in ${counted(data.updates, "update", "updates")}`);
  }
  const pictures = picturesOf(key, DETAIL_PICTURES);
  if (pictures.length) {
    const grid = element("div", "grid");
    for (const { label, picture } of pictures) {
      const caption = element("figcaption", "", nameOf(label));
      caption.title = fullName(label);
      grid.append(element("figure", "", image(picture, nameOf(label)), caption));
    }
    parts.push(element("h3", "", "Sample pictures"), grid);
  }
  details.replaceChildren(...parts);
  details.scrollTop = 0;
}

function linkTo(key) {
  const link = element("button", "link", nameOf(key));
  link.type = "button";
  link.addEventListener("click", () => { reveal(key); tree.focus(); });
  return link;
}

// A bar for each update after the first; where there are many, each is the mean of several.
function chartOf(key) {
  const bars = levels[levelOf[key]].bars[nodeOf(key)], width = 320, left = 26, bottom = 68;
  const svg = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const chart = svg("svg", { viewBox: `0 0 ${width} 88`, role: "img",
    "aria-label": `Overlap with the update before, in percent: ${bars.join(", ")}` });
  const step = (width - left) / Math.max(bars.length, 8);
  bars.forEach((value, place) => chart.append(svg("rect", { x: left + place * step + step / 10,
    y: bottom - 0.6 * value, width: 0.8 * step, height: Math.max(0.6 * value, 0.5) })));
  chart.append(svg("line", { x1: left, x2: width, y1: bottom, y2: bottom }),
    svg("text", { x: left - 4, y: 12, "text-anchor": "end" }, "100"),
    svg("text", { x: left - 4, y: bottom, "text-anchor": "end" }, "0"),
    svg("text", { x: left + step / 2, y: 82, "text-anchor": "middle" }, "2"));
  if (bars.length > 1) {
    const end = Math.min(width - 4, left + (bars.length - 0.5) * step);
    chart.append(svg("text", { x: end, y: 82, "text-anchor": "end" }, `update ${data.updates}`));
  }
  return chart;
}
