"use strict";
// Mouse and keys, as in the pattern of WAI-ARIA for trees.
tree.addEventListener("scroll", draw, { passive: true });
new ResizeObserver(() => { drawn = new Map(); draw(); }).observe(tree);

rows.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (!row) return;
  const key = Number(row.id.slice(1));
  if (event.target.closest(".toggle") || event.detail === 2) toggle(key);
  select(key);
});

let typed = "", typedAt = 0;

function goToTyped(letter) {
  if (Date.now() - typedAt > 700) typed = "";
  typedAt = Date.now();
  typed += letter.toLowerCase();
  const start = places.get(active).row + (typed.length === 1 ? 1 : 0);
  for (let step = 0; step < shown.length; step++) {
    const key = shown[(start + step) % shown.length];
    if (nameOf(key).toLowerCase().startsWith(typed)) return select(key);
  }
}

tree.addEventListener("keydown", (event) => {
  if (active < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const row = places.get(active).row, page = Math.max(1, Math.floor(tree.clientHeight / rowHeight()) - 1);
  const to = (place) => select(shown[Math.max(0, Math.min(shown.length - 1, place))]);
  const actions = {
    ArrowDown: () => to(row + 1),
    ArrowUp: () => to(row - 1),
    PageDown: () => to(row + page),
    PageUp: () => to(row - page),
    Home: () => to(0),
    End: () => to(shown.length - 1),
    ArrowRight: () => {
      if (hasChildren(active) && open.has(active)) to(row + 1);
      else { toggle(active, true); select(active); }
    },
    ArrowLeft: () => {
      if (open.has(active) && hasChildren(active)) { toggle(active, false); select(active); }
      else if (parentOf[active] >= 0) select(parentOf[active]);
    },
    Enter: () => { toggle(active); select(active); },
    " ": () => { toggle(active); select(active); },
    "*": () => {
      for (const key of childrenOf(parentOf[active])) if (hasChildren(key)) open.add(key);
      rebuild();
      select(active);
    },
  };
  if (actions[event.key]) actions[event.key]();
  else if (event.key.length === 1 && event.key !== "/") goToTyped(event.key);
  else return;
  event.preventDefault();
});

document.getElementById("unfold").addEventListener("click", () => {
  for (let key = firstKey[1] ?? total; key < total; key++) open.add(key);
  rebuild();
  if (active >= 0) select(active);
});
document.getElementById("fold").addEventListener("click", () => {
  open.clear();
  rebuild();
  if (active >= 0) select(active);
});
document.getElementById("order").addEventListener("change", (event) => {
  order = event.target.value;
  sorted = new Map();
  rebuild();
  if (active >= 0) select(active);
});
