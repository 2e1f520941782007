// What the glass box says of one token: its numbers, and what else might have come.

import { number, percent, say } from "./strings.js";

/** A token's text with its spaces made visible. */
export function visible(text) {
  return text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll("\r", "␍");
}

export class Odds {
  /** panel: the element. close(); choose(index, token_id): a person wants to go on with that one. */
  constructor(panel, { close, choose }) {
    Object.assign(this, { panel, choose });
    panel.append(document.getElementById("odds-template").content.cloneNode(true));
    panel.querySelector(".close").addEventListener("click", close);
    panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close();
    });
  }

  /** Show, below the token's element, what is known before the numbers are. */
  wait({ id, name }, index, total, element) {
    const below = [...element.getClientRects()].at(-1).bottom;
    const { top } = this.panel.parentElement.getBoundingClientRect();
    this.panel.style.top = `${below - top}px`;
    this.#head(name, id, index, total);
    for (const cell of this.panel.querySelectorAll("dd")) cell.textContent = "…";
    this.panel.querySelector("ol").replaceChildren();
    this.panel.querySelector(".changed").hidden = true;
    this.panel.setAttribute("aria-busy", "true");
    this.panel.hidden = false;
  }

  show({ index, token, rank, entropy, alternatives, given }, changed, total) {
    this.#head(token.text, token.id, index, total, given);
    const cell = (name) => this.panel.querySelector(`dd.${name}`);
    cell("raw").textContent = percent(token.raw);
    cell("sampled").textContent = percent(token.sampled);
    cell("rank").textContent = number(rank);
    cell("entropy").textContent = say("bits", { n: number(entropy, 2) });
    const note = this.panel.querySelector(".changed");
    note.hidden = !changed.length;
    note.textContent = say("model_changed", { parts: changed.join(", ") });
    const rows = alternatives.map((other) => this.#row(other, index, other.id === token.id));
    this.panel.querySelector("ol").replaceChildren(...rows);
    this.panel.setAttribute("aria-busy", "false");
    this.panel.scrollIntoView({ block: "nearest" });
    document.getElementById("announcer").textContent =
      `${visible(token.text)}: ${percent(token.raw)}, ${say("bits", { n: number(entropy, 2) })}`;
  }

  hide() {
    this.panel.hidden = true;
  }

  #head(text, id, index, total, given) {
    this.panel.querySelector(".named").textContent = visible(text);
    const said = say("token_id", { id, n: number(index + 1), total: number(total) });
    this.panel.querySelector(".id").textContent = given ? `${said} · ${say("given_token")}` : said;
  }

  #row({ id, text, raw, sampled, ends }, index, written) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.disabled = written || ends;
    const sentence = written ? "written_one" : ends ? "ends_answer" : "go_on_with";
    const words = { text: visible(text), raw: percent(raw), sampled: percent(sampled) };
    button.setAttribute("aria-label", say(sentence, words));
    button.title = say(sentence, words);
    button.append(part("code", visible(text)), bars(raw, sampled), part("span", percent(raw)));
    button.classList.toggle("written", written);
    button.addEventListener("click", () => this.choose(index, id));
    item.append(button);
    return item;
  }
}

function part(kind, text) {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}

/** Two bars, one above the other: as the model gave it, and as it was sampled. */
export function bars(...values) {
  const box = document.createElement("span");
  box.className = "bars";
  for (const value of values) {
    const bar = document.createElement("span");
    bar.style.setProperty("--part", value);
    bar.classList.toggle("none", !value);
    box.append(bar);
  }
  return box;
}
