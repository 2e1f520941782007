// The attention map: a row for each token, a cell for each token that it reads from.

import { make, svg } from "./learn_elements.js";
import { visible } from "./odds.js";
import { percent, say } from "./strings.js";

const CELL = 10;
const NAMED = 5; // tokens that are named of those that a row reads from

export function attention({ layer, ids, texts }, { layer: which, head }) {
  const words = ids.map((id) => visible(texts[id]));
  const size = ids.length * CELL;
  const map = svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "map", role: "group" });
  const chips = make("p", { className: "chips reading" });
  chips.append(...words.map((word) => make("code", { textContent: word })));
  const said = make("p", { className: "numbers" });
  const rows = layer.attention.map((weights, index) => row(weights, index, words[index]));
  map.append(...rows);

  const choose = (index) => {
    rows.forEach((each, i) => {
      each.classList.toggle("chosen", i === index);
      each.setAttribute("tabindex", i === index ? 0 : -1);
    });
    const weights = layer.attention[index];
    [...chips.children].forEach((chip, i) => {
      chip.style.setProperty("--part", weights[i] ?? 0);
      chip.classList.toggle("unread", i > index);
    });
    said.textContent = say("reads", { token: words[index], list: strongest(weights, words) });
    rows[index].setAttribute("aria-label", said.textContent);
  };
  map.addEventListener("pointerover", ({ target }) => {
    const index = rows.indexOf(target.closest("g"));
    if (index >= 0) choose(index);
  });
  map.addEventListener("focusin", ({ target }) => choose(rows.indexOf(target)));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const index = rows.indexOf(event.target) + step;
    rows[Math.max(0, Math.min(rows.length - 1, index))].focus();
  });
  choose(rows.length - 1);
  const where = say("head_of", { layer: which, head });
  map.setAttribute("aria-label", where);
  const beside = make("div", { className: "beside" });
  beside.append(chips, said);
  const figure = make("div", { className: "attention" });
  figure.append(map, beside);
  const captions = [where, say("attention_caption")];
  return [...captions.map((text) => make("p", { className: "caption", textContent: text })), figure];
}

function row(weights, index, word) {
  const group = svg("g", { role: "img", tabindex: -1, "aria-label": say("attention_row", { token: word }) });
  weights.forEach((weight, column) => {
    const place = { x: column * CELL, y: index * CELL, width: CELL, height: CELL };
    group.append(svg("rect", { ...place, class: "ground" }));
    group.append(svg("rect", { ...place, class: "cell", "fill-opacity": weight }));
  });
  const frame = { x: 0, y: index * CELL, width: weights.length * CELL, height: CELL };
  group.append(svg("rect", { ...frame, class: "frame" }));
  return group;
}

function strongest(weights, words) {
  const order = weights.map((weight, index) => [weight, words[index]]).sort(([a], [b]) => b - a);
  return order.slice(0, NAMED).map(([weight, word]) => `${word} ${percent(weight)}`).join(" · ");
}
