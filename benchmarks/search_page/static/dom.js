// Elements of the page, and what the server answers.

/** An element with properties, attributes (those with a dash) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** "1 picture", "2,000 pictures". */
export const counted = (number, what) =>
  `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

export const fileName = (path) => path.split(/[\\/]/).pop();

/** A name that may be broken after its punctuation rather than inside a word. */
export const breakable = (name) => name.replace(/([_:/\\-])(?=[^\s])/g, "$1\u200b");

/** The class of a picture, which may only be that of the nearest proxy; null if it has none. */
export const className = (one) => one.class && (one.known ? one.class : `${one.class} (guessed)`);

/** A picture in a square; what the browser cannot load is replaced by a text. */
export function picture(source, alt, instead) {
  const box = make("span", { className: "picture" });
  const image = make("img", { src: source, alt, loading: "lazy", decoding: "async" });
  image.draggable = false;
  image.addEventListener("error", () => {
    box.classList.add("gone");
    box.replaceChildren(instead);
  });
  box.append(image);
  return box;
}

export function galleryPicture(row, path, side) {
  return picture(`/pictures/${row}?side=${side}`, fileName(path), "This picture cannot be shown");
}

/** The JSON that the server answers; throws an Error whose message is for the user. */
export async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Has the command that serves this page ended?");
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`The server answered ${response.status} and gave no reason.`);
  }
  if (!response.ok) throw new Error(answer.error || `The server answered ${response.status}.`);
  return answer;
}

/** Calls `action` once, `delay` milliseconds after the last call of what it returns. */
export function later(action, delay) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), delay);
  };
}

/** Fills a datalist with names that contain what is typed into a field. */
export function suggest(field, list, parameters = "") {
  field.addEventListener("input", later(async () => {
    const like = encodeURIComponent(field.value);
    const { names } = await ask(`/api/names?like=${like}${parameters}`);
    list.replaceChildren(...names.map((value) => make("option", { value })));
  }, 120));
}
