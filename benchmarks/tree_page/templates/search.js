"use strict";
// Search by name, or by a path such as "fruit/apple": matches are marked, and the way to them is
// unfolded.
const query = document.getElementById("query"), only = document.getElementById("only");
const steps = { "-1": document.getElementById("previous"), 1: document.getElementById("next") };
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

let folded = null;         // the names without case and accents, made by the first search
let paths = null;          // the same after those of all superclasses, made by the first path
let found = [];            // matching keys, in the order of the tree
let openBefore = null;     // what was unfolded when the search began
let wanted = "";

function pathOf(key) {
  if (!paths) {
    paths = folded.slice();
    for (let child = total - 1; child >= 0; child--) {  // a superclass comes after its classes
      if (parentOf[child] >= 0) paths[child] = `${paths[parentOf[child]]}/${folded[child]}`;
    }
  }
  return paths[key];
}

// The end of a path that was searched for as far as it is in the name, "apple" for "fruit/apple";
// null if the path does not match. The path "fruit/" matches all that is in it.
function endInName(key) {
  if (!wanted.includes("/")) return null;
  const at = pathOf(key).lastIndexOf(wanted);
  const size = at + wanted.length - (pathOf(key).length - folded[key].length);
  return at >= 0 && size >= 0 ? wanted.slice(wanted.length - size) : null;
}

highlighted = (key) => {
  const name = nameOf(key), isInName = folded?.[key].includes(wanted);
  const sought = isInName ? wanted : folded && endInName(key);
  if (!sought) return [document.createTextNode(name)];
  const letters = Array.from(name), starts = [];
  let text = "";
  letters.forEach((letter, index) => {
    const plain = fold(letter);
    for (let i = 0; i < plain.length; i++) starts.push(index);
    text += plain;
  });
  starts.push(letters.length);
  const parts = [];
  let done = 0;
  for (let at = text.indexOf(sought); at >= 0; at = isInName ? text.indexOf(sought, at + sought.length) : -1) {
    const first = starts[at];
    let end = starts[at + sought.length];
    if (end === starts[at + sought.length - 1]) end++;  // inside of a letter such as ß
    parts.push(letters.slice(done, first).join(""), element("mark", "", letters.slice(first, end).join("")));
    done = end;
  }
  return [...parts, letters.slice(done).join("")];
};

function search() {
  const now = fold(query.value.trim());
  if (now && !wanted) openBefore = new Set(open);
  wanted = now;
  folded ??= Array.from({ length: total }, (_, key) => fold(nameOf(key)));
  matches = new Set();
  found = [];
  const kept = new Set();
  if (openBefore) {
    open.clear();
    for (const key of openBefore) open.add(key);
    if (!wanted) openBefore = null;
  }
  if (wanted) {
    for (let key = 0; key < total; key++) {
      if (!folded[key].includes(wanted) && endInName(key) === null) continue;
      matches.add(key);
      for (let above = parentOf[key]; above >= 0 && !kept.has(above); above = parentOf[above]) {
        kept.add(above);
        open.add(above);
      }
    }
    const collect = (parent) => {
      for (const key of childrenOf(parent)) {
        if (matches.has(key)) found.push(key);
        if (kept.has(key)) collect(key);
      }
    };
    collect(-1);
  }
  if (!found.length) for (const above of ancestorsOf(active)) open.add(above);
  isShown = wanted && only.checked && found.length
    ? (key, isBelowMatch) => isBelowMatch || matches.has(key) || kept.has(key) : () => true;
  rebuild();
  if (found.length && !matches.has(active)) goTo(0);
  else if (active >= 0) select(active);
  showCount();
}

function goTo(place) {
  reveal(found[(place + found.length) % found.length]);
  showCount();
}

function step(by) {
  if (!found.length) return;
  const place = found.indexOf(active);
  goTo(place < 0 ? 0 : place + by);
}

function showCount() {
  const place = found.indexOf(active);
  let text = "";
  if (wanted && !found.length) text = "No name matches";
  else if (wanted) text = `${place < 0 ? "" : `${(place + 1).toLocaleString("en")} of `}${counted(found.length, "match", "matches")}`;
  document.getElementById("matches").textContent = text;
  for (const button of Object.values(steps)) button.disabled = !found.length;
}

let waiting = 0;
query.addEventListener("input", () => {
  clearTimeout(waiting);
  if (total > 5000) waiting = setTimeout(search, 150);
  else search();
});
only.addEventListener("change", search);
steps[-1].addEventListener("click", () => step(-1));
document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  step(1);
});
query.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.shiftKey) step(-1);
  else if (event.key === "ArrowDown") tree.focus();
  else if (event.key === "Escape") { query.value = ""; search(); tree.focus(); }
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== query) {
    query.focus();
    event.preventDefault();
  }
});

if (total <= FEW) for (let key = firstKey[1] ?? total; key < total; key++) open.add(key);
rebuild();
if (active >= 0) select(active);
