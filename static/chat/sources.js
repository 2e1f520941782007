// Below a message: the files that it has; below an answer: the passages that it was written with.
// Either opens its text.

import { fetchText } from "./file_requests.js";
import { number, say } from "./strings.js";

const MOST_SHOWN = 200_000; // characters; a dialog of millions stalls the page

/** A kind and a size for people. */
export function detailOf({ kind, encoding, tokens }) {
  const other = encoding && encoding !== "UTF-8" ? encoding : "";
  const what = ["pdf", "docx", "xlsx", "html"].includes(kind) ? kind.toUpperCase() : other;
  return [what, say("tokens", { n: number(tokens) })].filter(Boolean).join(" · ");
}

export function showFiles(element, files) {
  const list = listIn(element, "files", say("files_of"), () => element.querySelector(".content"));
  list.replaceChildren(
    ...files.map((file) => item(button("chip", file.name, detailOf(file), { file: file.id }))),
  );
  list.hidden = !files.length;
}

export function showPassages(element, passages) {
  const list = listIn(element, "passages", say("sources_of"), () => element.querySelector(".outcome"));
  list.replaceChildren(...passages.map((passage) => item(citation(passage))));
  list.hidden = !passages.length;
}

/** Makes [1] in a finished answer open what the passage of that number says. */
export function linkCitations(element) {
  const chips = new Map();
  for (const chip of element.querySelectorAll(".passages .chip")) {
    chips.set(chip.querySelector(".number").textContent, chip);
  }
  if (!chips.size) return;
  const texts = document.createTreeWalker(element.querySelector(".content"), NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (texts.nextNode()) nodes.push(texts.currentNode);
  for (const node of nodes) {
    if (node.parentElement.closest("pre, code, a, math, button")) continue;
    const parts = node.data.split(/\[(\d{1,3})\]/); // every second one is a number
    if (!parts.some((part, index) => index % 2 && chips.has(part))) continue;
    node.replaceWith(...parts.map((part, index) => (index % 2 ? cited(part, chips.get(part)) : part)));
  }
}

function cited(number, chip) {
  if (!chip) return `[${number}]`;
  const made = document.createElement("button");
  made.type = "button";
  made.className = "cite";
  made.textContent = `[${number}]`;
  made.title = chip.dataset.name;
  made.setAttribute("aria-label", chip.getAttribute("aria-label"));
  Object.assign(made.dataset, chip.dataset);
  return made;
}

/** Where in a file a passage stands. */
function placeOf({ whole, place }) {
  if (whole) return say("source_whole");
  if (place.page) return say("source_page", { n: number(place.page) });
  if (place.sheet) return say("source_row", { sheet: place.sheet, n: number(place.row) });
  return place.line ? say("source_line", { n: number(place.line) }) : "";
}

function citation(passage) {
  const { file, name, start, end } = passage;
  const made = button("chip", name, placeOf(passage), { file, start, end });
  const which = document.createElement("span");
  which.className = "number";
  which.textContent = passage.number;
  made.prepend(which);
  made.setAttribute("aria-label", [say("source_open", passage), placeOf(passage)].join(", "));
  return made;
}

function button(kind, name, detail, data) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.title = name;
  Object.assign(made.dataset, { ...data, name, detail });
  for (const [part, text] of [["name", name], ["detail", detail]]) {
    const span = document.createElement("span");
    span.className = part;
    span.textContent = text;
    made.append(span);
  }
  return made;
}

function item(content) {
  const made = document.createElement("li");
  made.append(content);
  return made;
}

function listIn(element, name, label, before) {
  const known = element.querySelector(`:scope ul.${name}`);
  if (known) return known;
  const made = document.createElement("ul");
  made.className = name;
  made.setAttribute("aria-label", label);
  before().after(made);
  return made;
}

/** box: outlives its conversations. */
export function listenForSources(box, failed) {
  const dialog = document.getElementById("source");
  box.addEventListener("click", async (event) => {
    const chip = event.target.closest(".message [data-file]");
    if (!chip) return;
    const { file, name, detail, start = 0, end } = chip.dataset;
    const last = Math.min(Number(end ?? Infinity), Number(start) + MOST_SHOWN);
    try {
      const told = await fetchText(file, { start, end: last });
      dialog.querySelector("h2").textContent = name;
      const rest = Number(end ?? told.characters) > last;
      const shown = [detail, rest && say("characters", { n: `${number(last)} / ${number(told.characters)}` })];
      dialog.querySelector(".place").textContent = shown.filter(Boolean).join(" · ");
      dialog.querySelector(".text").textContent = told.text;
      dialog.showModal();
      dialog.querySelector(".text").scrollTop = 0;
    } catch (error) {
      failed(error.message);
    }
  });
}
