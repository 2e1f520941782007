// The figures of the learning page: a trace in, elements out. One function for each step.

import { attention } from "./learn_attention.js";
import { make, svg } from "./learn_elements.js";
import { bars, visible } from "./odds.js";
import { number, percent, say } from "./strings.js";

const BAR = 10; // width of one in the residual stream's figure
const HIGH = 120;
const DIAL = 80; // radius

export const figures = {
  tokens,
  embedding: (trace) => vector(trace.embedding, trace.sizes.hidden),
  norm,
  qkv,
  rope,
  attention,
  mlp,
  residual,
  logits,
  temperature: (trace) => stage(trace, "temperature"),
  top_k: (trace) => stage(trace, "top_k"),
  top_p: (trace) => stage(trace, "top_p"),
  min_p: (trace) => stage(trace, "min_p"),
  draw,
};

function tokens({ ids, texts }) {
  const list = make("ol", { className: "chips" });
  ids.forEach((id, index) => {
    const title = say("token_id", { id, n: index + 1, total: ids.length });
    const chip = make("li", { title });
    chip.append(make("code", { textContent: visible(texts[id]) }), make("small", { textContent: id }));
    list.append(chip);
  });
  return [list];
}

/** A strip: each number is a cell, the stronger its colour the further from zero. */
function vector(values, total, caption = say("of_vector", { n: values.length, total: number(total) })) {
  const most = Math.max(...values.map(Math.abs)) || 1;
  const strip = make("div", { className: "strip" });
  strip.setAttribute("role", "img");
  strip.setAttribute("aria-label", values.map((value) => number(value, 3)).join(", "));
  for (const value of values) {
    const cell = make("span", { title: number(value, 4) });
    cell.classList.toggle("below", value < 0);
    cell.style.setProperty("--part", Math.abs(value) / most);
    strip.append(cell);
  }
  const some = values.slice(0, 6).map((value) => number(value, 3)).join("  ");
  return [
    make("p", { className: "caption", textContent: caption }),
    strip,
    make("p", { className: "numbers", textContent: `${some} …` }),
  ];
}

function norm({ layer, sizes }) {
  const before = say("before_norm", { n: number(layer.scale, 4) });
  return [
    ...vector(layer.before, sizes.hidden, before),
    ...vector(layer.normed, sizes.hidden, say("after_norm")),
  ];
}

function qkv({ layer, sizes }, { layer: which, head }) {
  const where = make("p", { className: "caption", textContent: say("head_of", { layer: which, head }) });
  const parts = ["query", "key", "value"];
  return [where, ...parts.flatMap((name) => vector(layer[name], sizes.head_dim, say(name)))];
}

function rope({ layer: { rotation }, ids, texts }) {
  const { before, after, angles } = rotation;
  const long = Math.max(Math.hypot(...before), Math.hypot(...after)) || 1;
  const dial = svg("svg", { viewBox: `${-DIAL - 20} ${-DIAL - 20} ${2 * DIAL + 40} ${2 * DIAL + 40}`, class: "dial", role: "img" });
  dial.append(svg("circle", { r: DIAL, class: "rim" }));
  const [x, y] = before.map((value) => (value / long) * DIAL);
  for (const angle of angles) {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    dial.append(svg("line", { x2: x * c - y * s, y2: -(y * c + x * s), class: "earlier" }));
  }
  dial.append(svg("line", { x2: x, y2: -y, class: "before" }));
  const [u, v] = after.map((value) => (value / long) * DIAL);
  dial.append(svg("line", { x2: u, y2: -v, class: "after" }));
  const words = {
    token: visible(texts[ids.at(-1)]),
    n: number(ids.length - 1),
    angle: number(((((ids.length - 1) * 180) / Math.PI) * angleStep(angles)) % 360, 1),
  };
  const caption = say("rope_caption", words);
  dial.setAttribute("aria-label", caption);
  const legend = make("p", { className: "legend" });
  for (const [name, pair] of [["before", before], ["after", after]]) {
    const text = `${say(name)} (${pair.map((value) => number(value, 3)).join(", ")})`;
    legend.append(make("span", { className: name, textContent: text }));
  }
  return [make("p", { className: "caption", textContent: caption }), dial, legend];
}

/** The angle of one position, in radians; angles are given between -π and π. */
function angleStep(angles) {
  return angles.length > 1 ? angles[1] : 0;
}

function mlp({ layer, sizes }) {
  const words = {
    n: layer.gated.length,
    total: number(sizes.inner),
    part: percent(layer.active),
  };
  return vector(layer.gated, sizes.inner, say("mlp_caption", words));
}

function residual({ residual: sizes }) {
  const most = Math.max(...sizes);
  const chart = svg("svg", { viewBox: `0 0 ${sizes.length * BAR} ${HIGH}`, class: "columns", role: "img" });
  chart.setAttribute("aria-label", sizes.map((size) => number(size, 2)).join(", "));
  sizes.forEach((size, index) => {
    const height = Math.max(1, (size / most) * HIGH);
    const kind = index === 0 ? "first" : index % 2 ? "odd" : "even";
    const bar = svg("rect", { x: index * BAR + 1, y: HIGH - height, width: BAR - 2, height, class: kind });
    const title = svg("title", {});
    title.textContent = say("residual_bar", { n: index, value: number(size, 3) });
    bar.append(title);
    chart.append(bar);
  });
  const ends = `${number(sizes[0], 3)} → ${number(sizes.at(-1), 2)}`;
  return [
    make("p", { className: "caption", textContent: say("residual_caption") }),
    chart,
    make("p", { className: "numbers", textContent: ends }),
  ];
}

function logits({ logits: best, texts, stages }) {
  const list = make("ol", { className: "candidates" });
  best.forEach(([id, logit], index) => {
    const { raw } = stages[0].tokens[index];
    list.append(candidate(texts[id], raw, `${number(logit, 2)} · ${percent(raw)}`));
  });
  return [list];
}

function candidate(text, part, said) {
  const row = make("li", {});
  row.append(make("code", { textContent: visible(text) }), bars(part), make("span", { textContent: said }));
  return row;
}

function stage({ stages, texts, sizes }, name) {
  const { value, survivors, tokens: all } = stages.find((each) => each.name === name);
  const title = document.querySelector(`[data-step="${name}"] h2`).textContent;
  const words = { name: title, value: number(value, 3), n: number(survivors), total: number(sizes.vocabulary) };
  const list = make("ol", { className: "candidates" });
  for (const { id, sampled } of all) {
    const row = candidate(texts[id], sampled, sampled ? percent(sampled) : `✗ ${say("cut")}`);
    row.classList.toggle("cut", !sampled);
    list.append(row);
  }
  return [make("p", { className: "caption", textContent: say("stage_caption", words) }), list];
}

/** The probabilities end to end, and where the number falls. */
function draw({ stages, texts, token, uniform, ids }, { seed }) {
  const line = svg("svg", { viewBox: "0 0 1000 90", class: "line", role: "img" });
  let from = 0;
  const segment = (part, text, kind) => {
    const box = svg("rect", { x: from * 1000, y: 30, width: part * 1000, height: 36, class: kind });
    const title = svg("title", {});
    title.textContent = `${text} ${percent(part)}`;
    box.append(title);
    line.append(box);
    if (part > 0.06) {
      const label = svg("text", { x: (from + part / 2) * 1000, y: 54, "text-anchor": "middle" });
      label.textContent = text;
      line.append(label);
    }
    from += part;
  };
  for (const { id, sampled } of stages.at(-1).tokens) {
    if (sampled) segment(sampled, visible(texts[id]), id === token ? "taken" : "other");
  }
  if (from < 0.9999) segment(1 - from, say("others"), "rest");
  line.append(svg("path", { d: `M ${uniform * 1000} 28 l -9 -16 h 18 z`, class: "point" }));
  const words = { seed, position: ids.length, point: number(uniform, 4), token: visible(texts[token]) };
  const caption = say("draw_caption", words);
  line.setAttribute("aria-label", caption);
  const text = make("p", { className: "so-far" });
  text.append(ids.map((id) => texts[id]).join(""), make("mark", { textContent: texts[token] }));
  return [make("p", { className: "caption", textContent: caption }), line, text];
}
