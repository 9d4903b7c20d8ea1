// Takes a picture by upload, drop, paste or click, and asks the server for its neighbours.

import { ask, byId, className, counted, galleryPicture, make, picture, suggest } from "./dom.js";
import { showComparison } from "./comparison.js";
import { showGallery } from "./gallery.js";
import { showResults, summary } from "./results.js";

const page = { info: null, ready: null, query: null, found: null, running: null };

const uploads = new Map(); // by their key in the browser's history, so that Back finds them
const MOST_UPLOADS = 20;

function showError(message) {
  byId("error").textContent = message;
  byId("error").hidden = !message;
}

function view() {
  const level = page.info.levels > 1 ? Number(byId("level").value) : 0;
  return { level, grouped: byId("group").checked };
}

function redraw() {
  if (page.found) showResults(page.found, view(), chooseRow);
}

/** Searches for `page.query`: {row} or {file, preview, className}. */
async function search() {
  page.running?.abort();
  page.running = new AbortController();
  const { query, running } = page;
  showError("");
  byId("status").textContent = "Searching";
  byId("results").setAttribute("aria-busy", "true");
  const parameters = new URLSearchParams({ k: byId("count").value });
  const options = { signal: running.signal };
  if (query.file) {
    query.className = byId("class-name").value;
    parameters.set("class", query.className.trim());
    Object.assign(options, { method: "POST", body: query.file,
      headers: { "Content-Type": "application/octet-stream" } });
  } else parameters.set("row", query.row);
  try {
    page.found = await ask(`/api/search?${parameters}`, options);
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("status").textContent = "";
    showError(error.message);
    return;
  } finally {
    byId("results").removeAttribute("aria-busy");
  }
  showQuery();
  redraw();
  byId("status").textContent = page.found.galleries
    .map((gallery) => `${gallery.title}: ${summary(gallery, page.found.query)}`).join(". ");
}

function showQuery() {
  const { query, found } = page;
  const shown = query.file
    ? picture(query.preview, query.file.name, "The browser cannot show this format")
    : galleryPicture(query.row, found.query.path, 960);
  byId("query-picture").replaceChildren(shown);
  const title = className(found.query) ?? query.file?.name ?? found.query.path;
  const above = found.query.superclasses.filter(Boolean).join(", ");
  byId("query-name").replaceChildren(make("strong", {}, title), above ? `, ${above}` : "",
    make("br"), make("span", { className: "muted" },
      query.file ? "Your picture; it is not stored" : found.query.path));
  byId("query-class").hidden = !query.file || !page.info.has_classes;
  byId("results").hidden = false;
}

async function searchAndShow() {
  const query = page.query;
  await search();
  if (page.query !== query) return;
  const target = byId("error").hidden ? byId("results-title") : byId("choose");
  if (byId("error").hidden) target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "start" });
}

function chooseRow(row) {
  history.pushState({ row }, "", `?row=${row}`);
  page.query = { row };
  return searchAndShow();
}

async function chooseFile(file) {
  await page.ready; // a picture may be dropped while the page is still loading
  if (!page.info) return; // which `start` has said
  if (!page.info.takes_uploads) {
    return showError(page.info.why_no_uploads);
  }
  if (file.size > page.info.largest_upload) {
    const limit = page.info.largest_upload / 2 ** 20;
    return showError(`${file.name} is larger than ${limit} MB.`);
  }
  byId("class-name").value = "";
  page.query = { file, preview: URL.createObjectURL(file), className: "" };
  history.pushState({ upload: keep(page.query) }, "", location.pathname);
  return searchAndShow();
}

/** Keeps an upload for as long as the page is open; returns its key, which no other load uses. */
function keep(upload) {
  const key = `${performance.timeOrigin}-${performance.now()}`;
  uploads.set(key, upload);
  if (uploads.size > MOST_UPLOADS) {
    const [[oldest, { preview }]] = uploads;
    URL.revokeObjectURL(preview);
    uploads.delete(oldest);
  }
  return key;
}

function chooseFrom(transfer) {
  const file = [...transfer.files][0];
  if (file) chooseFile(file);
  else showError("This is not a file. Save the picture first, then drop the file here.");
}

function listen() {
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) chooseFile(file);
    event.target.value = ""; // so that the same file can be chosen again
  });
  const drop = byId("drop");
  addEventListener("dragover", (event) => {
    event.preventDefault(); // or the browser opens the file instead of this page
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    chooseFrom(event.dataTransfer);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      chooseFrom(event.clipboardData);
    }
  });
  byId("count").addEventListener("change", search);
  byId("group").addEventListener("change", redraw);
  byId("level").addEventListener("change", redraw);
  byId("query-class").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  suggest(byId("class-name"), byId("class-names"), "&level=0");
  addEventListener("popstate", fromAddress);
}

function fromAddress() {
  const row = new URLSearchParams(location.search).get("row");
  const key = history.state?.upload;
  page.query = row === null ? uploads.get(key) : { row };
  if (page.query) {
    byId("class-name").value = page.query.className ?? "";
    search();
    return;
  }
  page.running?.abort();
  byId("results").hidden = true;
  showError(key ? "Choose your picture again: uploads are not kept for long." : "");
}

async function loadInfo() {
  try {
    page.info = await ask("/api/info");
  } catch (error) {
    showError(error.message);
  }
}

async function start() {
  page.ready = loadInfo();
  listen();
  await page.ready;
  const { info } = page;
  if (!info) return;
  const titles = info.galleries.map((gallery) => gallery.title).join(" compared with ");
  byId("about").textContent = `${counted(info.pictures, "picture")}, searched by ${titles}`;
  for (let level = 1; level < info.levels; level++) byId("level").append(make("option", {}, level));
  byId("level-label").hidden = info.levels < 3;
  byId("group-label").hidden = info.levels < 2;
  if (!info.takes_uploads) {
    byId("file").disabled = true;
    byId("choose").hidden = true;
    byId("upload-help").textContent = "Click on a picture of the gallery to see the pictures most " +
      `like it. ${info.why_no_uploads}`;
  }
  byId("file").title = info.formats;
  const comparison = byId("comparison");
  comparison.hidden = info.galleries.length < 2 || !info.has_classes;
  comparison.addEventListener("toggle", () => showComparison(chooseRow), { once: true });
  fromAddress();
  await showGallery(chooseRow);
}

start();
