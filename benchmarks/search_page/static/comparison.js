// How right two galleries are over many queries, and the queries where they differ most.

import { ask, breakable, byId, counted, galleryPicture, make } from "./dom.js";

export async function showComparison(onChoice) {
  const box = byId("compared");
  box.replaceChildren("Searching with up to 1,000 pictures of the gallery\u2026");
  let found;
  try {
    found = await ask("/api/comparison");
  } catch (error) {
    box.replaceChildren(make("p", { className: "error" }, error.message));
    return;
  }
  const titles = found.galleries.map((gallery) => gallery.title);
  box.replaceChildren(
    make("p", { className: "muted" },
      `Answers that are right, in %. ${queries(found)}; each was searched for among all others.`),
    table(found, titles),
    ...found.differing.flatMap((differing, better) => examples(differing, better, titles, onChoice)));
}

function queries(found) {
  const those = `${counted(found.queries, "picture")} of the gallery`;
  const were = found.queries === 1 ? "was the query" : "were the queries";
  return found.queries < found.known
    ? `${those}, drawn at random, ${were}`
    : `The ${those} whose class is known ${were}`;
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function table(found, titles) {
  const [first, second] = found.galleries;
  const body = first.nearest.flatMap((_, level) => {
    const name = level ? `Right superclass of level ${level}` : "Right class";
    return [
      line(`${name}, nearest picture`, first.nearest[level], second.nearest[level]),
      line(`${name}, first ${found.k} answers`, first.first_k[level], second.first_k[level]),
    ];
  });
  const head = [make("td"), ...titles.map((title) => make("th", { scope: "col" }, breakable(title)))];
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...body));
}

function line(name, ...shares) {
  return make("tr", {}, make("th", { scope: "row" }, name),
    ...shares.map((share) => make("td", {}, (100 * share).toFixed(1))));
}

function examples(queries, better, titles, onChoice) {
  const title = make("h3", {},
    breakable(`Queries where ${titles[better]} is furthest ahead`));
  if (!queries.length) return [title, make("p", {}, "None")];
  return [title, make("ul", { className: "tiles" }, ...queries.map((one) => {
    const [mine, others] = [better, 1 - better].map((place) => sum(one.correct[place]));
    const button = make("button", { type: "button", className: "tile", title: one.path,
      "data-row": one.row }, galleryPicture(one.row, one.path, 240),
      make("span", { className: "text" }, make("span", { className: "name" }, breakable(one.class)),
        make("span", { className: "numbers" }, `${mine - others} more right, all levels`)));
    button.addEventListener("click", () => onChoice(one.row));
    return make("li", {}, button);
  }))];
}
