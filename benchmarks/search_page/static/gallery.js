// The pictures of the gallery, a page at a time.

import {
  ask, breakable, byId, className, counted, galleryPicture, later, make, suggest,
} from "./dom.js";

const PER_PAGE = 60;

export function showGallery(onChoice) {
  const [name, page] = [byId("name"), byId("page")];
  let newest = 0;
  let last = 1;

  async function load(wanted) {
    const mine = ++newest;
    const start = (wanted - 1) * PER_PAGE;
    const address = `/api/pictures?start=${start}&count=${PER_PAGE}` +
      `&name=${encodeURIComponent(name.value.trim())}`;
    let listing;
    try {
      listing = await ask(address);
    } catch (error) {
      byId("total").textContent = error.message;
      return;
    }
    if (mine !== newest) return; // a later request has been made
    last = Math.max(1, Math.ceil(listing.total / PER_PAGE));
    page.value = wanted;
    page.max = last;
    byId("pages").textContent = `of ${last.toLocaleString("en")}`;
    byId("previous").disabled = wanted <= 1;
    byId("next").disabled = wanted >= last;
    byId("total").textContent = listing.total
      ? counted(listing.total, "picture")
      : "No class or superclass has a name that contains this text.";
    byId("pictures").replaceChildren(...listing.pictures.map((one) => tile(one, onChoice)));
  }

  const move = (step) => load(Math.min(last, Math.max(1, Number(page.value) + step)));
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  page.addEventListener("change", () => {
    load(Math.min(last, Math.max(1, Math.round(Number(page.value)) || 1)));
  });
  name.addEventListener("input", later(() => load(1), 200));
  suggest(name, byId("names"));
  return load(1);
}

function tile(one, onChoice) {
  const text = make("span", { className: "text" },
    make("span", { className: "name" }, breakable(className(one) ?? one.path)),
    make("span", { className: "numbers" }, breakable(one.superclasses.filter(Boolean).join(", "))));
  const button = make("button", { type: "button", className: "tile", title: one.path,
    "data-row": one.row }, galleryPicture(one.row, one.path, 240), text);
  button.addEventListener("click", () => onChoice(one.row));
  return make("li", {}, button);
}
