// A line chart of the last ten minutes in an SVG: one line for each name in data-lines.

import { number } from "./common.js";

const SPAN_S = 600;
const GAP_S = 15; // without a sample for so long the line is broken
const [WIDTH, HEIGHT] = [600, 120];

export function draw(svg, history) {
  const names = svg.dataset.lines.split(" ");
  const shown = history.filter((sample) => sample.ago <= SPAN_S);
  const most = ceiling(Math.max(1, ...shown.flatMap((sample) => names.map((name) => sample[name]))));
  svg.replaceChildren(...[0.5, 1].map((share) => line("grid", `M0 ${HEIGHT * (1 - share) || 0.5}H${WIDTH}`)));
  names.forEach((name, place) => {
    let before = null;
    const path = shown.map((sample) => {
      const x = (WIDTH * (1 - sample.ago / SPAN_S)).toFixed(1);
      const y = (HEIGHT - 1 - (HEIGHT - 2) * (sample[name] / most)).toFixed(1);
      const joins = before !== null && before - sample.ago < GAP_S;
      before = sample.ago;
      return `${joins ? "L" : "M"}${x} ${y}`;
    });
    svg.append(line("ab"[place], path.join("")));
  });
  svg.parentElement.querySelector(".most").textContent = `↑ ${number(most)}`;
}

/** The next round number: 1, 2 or 5 times a power of ten. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function line(name, path) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "path");
  node.setAttribute("class", name);
  node.setAttribute("d", path);
  return node;
}
