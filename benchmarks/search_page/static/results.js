// The query and its neighbours, from one gallery or from two side by side.

import { breakable, byId, className, counted, galleryPicture, make } from "./dom.js";

// Okabe and Ito's colours and four more; the first is that of the query's superclass.
const COLOURS = ["#0072b2", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#56b4e9", "#8c6bb1",
  "#b8a000", "#7f7f7f", "#a6611a"];

/** Shows what the server answered. `level` (from 1) is that of the superclasses of the colours. */
export function showResults(found, view, onChoice) {
  const context = { found, onChoice, ...view, colours: colours(found, view.level) };
  const sides = found.galleries.map((gallery) => side(gallery, context));
  const two = sides.length > 1 ? " two" : "";
  byId("answers").replaceChildren(make("div", { className: `sides${two}` }, ...sides));
}

/** A sentence that counts the answers by how right they are. */
export function summary(gallery, query) {
  const number = gallery.answers.length;
  if (!number) return "no other picture";
  if (!gallery.correct) return counted(number, "answer");
  const [right, ...above] = gallery.correct;
  const inside = above.map((count, place) => `, ${count} in ${query.superclasses[place]}`);
  return `${right} of ${number} of the right class${inside.join("")}`;
}

function colours(found, level) {
  const shown = [found.query, ...found.galleries.flatMap((gallery) => gallery.answers)];
  const names = shown.map((one) => one.superclasses[level - 1]).filter(Boolean);
  return new Map([...new Set(names)].map((name, place) => [name, COLOURS[place % COLOURS.length]]));
}

function side(gallery, context) {
  const { level, grouped, found } = context;
  const box = make("section", { className: "side", "aria-label": `Answers of ${gallery.title}` },
    make("h3", {}, breakable(gallery.title)), make("p", { className: "muted" }, summary(gallery, found.query)));
  if (gallery.correct && gallery.answers.length) box.append(share(gallery, found.query));
  const answers = gallery.answers.map((one, place) => ({ ...one, place: place + 1 }));
  if (!grouped || !level) {
    box.append(list(answers, context));
    return box;
  }
  const groups = new Map();
  for (const one of answers) {
    const name = one.superclasses[level - 1];
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  const boxes = [...groups].map(([name, members]) => make("div", {},
    make("h4", {}, swatch(name, context), `${name ?? "unknown"} (${members.length})`),
    list(members, context)));
  box.append(make("div", { className: "groups" }, ...boxes));
  return box;
}

function list(answers, context) {
  const items = answers.map((one) => make("li", {}, tile(one, context)));
  return make("ol", { className: "tiles" }, ...items);
}

function tile(one, context) {
  const names = one.superclasses.filter(Boolean);
  const lines = [make("span", { className: "name" }, breakable(className(one) ?? one.path))];
  if (names.length) {
    const shown = one.superclasses[context.level - 1];
    lines.push(make("span", {}, swatch(shown, context), breakable(names.join(", "))));
  }
  lines.push(verdict(one, context),
    make("span", { className: "numbers", title: "Cosine similarity to the query" },
      `${one.place}. similarity ${one.similarity.toFixed(3)}`));
  const button = make("button", { type: "button", className: "tile", title: one.path,
    "data-row": one.row }, galleryPicture(one.row, one.path, 240),
    make("span", { className: "text" }, ...lines.filter(Boolean)));
  colour(button, one.superclasses[context.level - 1], context);
  button.addEventListener("click", () => context.onChoice(one.row));
  return button;
}

function verdict(one, { found }) {
  const level = one.shared_level;
  if (level === null) return null;
  const [kind, text] = level === 0 ? ["right", "\u2713 right class"]
    : level <= found.query.superclasses.length
      ? ["near", `\u2248 right superclass: ${found.query.superclasses[level - 1]}`]
      : ["wrong", "\u2717 wrong"];
  return make("span", { className: `verdict ${kind}` }, text);
}

/** A bar of three parts; the sentence above it says the same in words. */
function share(gallery, query) {
  const number = gallery.answers.length;
  const right = gallery.correct[0];
  const near = gallery.correct[query.superclasses.length] - right;
  const bar = make("div", { className: "share", "aria-hidden": "true" });
  const parts = [["right", right], ["near", near], ["wrong", number - right - near]];
  for (const [kind, count] of parts) {
    const part = make("span", { className: kind });
    part.style.width = `${(100 * count) / number}%`;
    bar.append(part);
  }
  return bar;
}

function swatch(name, context) {
  const box = make("span", { className: "swatch", "aria-hidden": "true" });
  colour(box, name, context);
  return box;
}

function colour(element, name, { colours }) {
  if (colours.has(name)) element.style.setProperty("--superclass", colours.get(name));
}
