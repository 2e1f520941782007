// The glass box: an answer as its tokens, and how likely each one was. One answer at a time.

import { api } from "./addresses.js";
import { Odds, visible } from "./odds.js";
import { percent, say } from "./strings.js";

const WINDOW = 32; // tokens whose odds are asked for at once
const LEVELS = [0.5, 0.1, 0.01]; // below each of these a token is marked more strongly

export class Glass {
  /** choose(message, index, token_id): the answer is to go on from there. */
  constructor(box, status, choose) {
    Object.assign(this, { status, choose });
    this.template = document.getElementById("glass-template");
    box.addEventListener("click", (event) => {
      const button = event.target.closest(".tool.tokens");
      if (button) this.#toggle(button.closest(".message").message);
    });
  }

  async #toggle(message) {
    const isShown = this.view?.isConnected && this.message === message;
    this.#close();
    if (!isShown) await this.#open(message);
  }

  #close() {
    this.fetching?.abort();
    this.view?.remove();
    this.message?.element.classList.remove("in-glass");
    this.message?.element.querySelector(".tool.tokens").setAttribute("aria-pressed", "false");
    this.view = this.message = null;
  }

  async #open(message) {
    this.fetching = new AbortController();
    const told = await this.#get(api(`messages/${message.id}/tokens`));
    if (!told || !message.element.isConnected) return;
    this.message = message;
    this.tokens = told.tokens;
    this.view = this.template.content.firstElementChild.cloneNode(true);
    this.row = this.view.querySelector(".row");
    this.row.append(...this.tokens.map((token, index) => tokenElement(token, index)));
    this.odds = new Odds(this.view.querySelector(".odds"), {
      close: () => this.#hide(),
      choose: (index, id) => this.choose(message, index, id),
    });
    message.content.after(this.view);
    message.element.classList.add("in-glass");
    message.element.querySelector(".tool.tokens").setAttribute("aria-pressed", "true");
    this.row.addEventListener("click", ({ target }) => this.#show(target.closest(".token")));
    this.row.addEventListener("keydown", (event) => this.#key(event));
    this.view.querySelector("input").addEventListener("change", (event) => {
      if (event.target.checked) this.#mark();
      else for (const element of this.row.children) delete element.dataset.level;
    });
  }

  /** One stop for the Tab key; arrows go from token to token. */
  #key(event) {
    const at = event.target.closest(".token");
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" || event.key === " ") this.#show(at);
    else if (event.key === "Escape" && !this.odds.panel.hidden) {
      event.stopPropagation(); // it would stop an answer
      this.#hide();
    }
    else if (event.key in steps) {
      const index = Number(at.dataset.index) + steps[event.key];
      const next = this.row.children[Math.max(0, Math.min(this.tokens.length - 1, index))];
      focusOnly(this.row, next);
      next.focus();
    } else return;
    event.preventDefault();
  }

  async #show(element) {
    if (!element) return;
    this.#hide();
    focusOnly(this.row, element);
    element.setAttribute("aria-expanded", "true");
    const index = Number(element.dataset.index);
    this.odds.wait(this.tokens[index], index, this.tokens.length, element);
    const told = await this.#get(api(`messages/${this.message.id}/tokens/${index}`));
    if (element.getAttribute("aria-expanded") !== "true" || !element.isConnected) return;
    if (told) this.odds.show(told.tokens[0], told.changed, this.tokens.length);
    else this.#hide();
  }

  #hide() {
    const open = this.row.querySelector('[aria-expanded="true"]');
    open?.setAttribute("aria-expanded", "false");
    if (this.view.contains(document.activeElement)) open?.focus();
    this.odds.hide();
  }

  /** Ask for all odds, a window at a time: answers that are being written come first. */
  async #mark() {
    const box = this.view.querySelector("input");
    for (let first = 0; first < this.tokens.length && box.checked && box.isConnected; first += WINDOW) {
      const told = await this.#get(api(`messages/${this.message.id}/tokens/${first}?count=${WINDOW}`));
      if (!told || !box.isConnected) return;
      for (const odds of told.tokens) {
        const element = this.row.children[odds.index];
        element.dataset.level = LEVELS.filter((level) => odds.token.raw < level).length;
        element.title = percent(odds.token.raw);
      }
    }
  }

  async #get(path) {
    try {
      const reply = await fetch(path, { signal: this.fetching.signal });
      if (reply.ok) return await reply.json();
      this.status.error((await reply.json()).error.message);
    } catch (error) {
      if (error.name !== "AbortError") this.status.error(say("glass_failed"));
    }
    return null;
  }
}

function tokenElement({ text, name }, index) {
  const element = document.createElement("span");
  element.className = "token";
  element.dataset.index = index;
  element.setAttribute("role", "button");
  element.setAttribute("aria-expanded", "false");
  element.setAttribute("aria-label", visible(name));
  element.tabIndex = index ? -1 : 0;
  element.textContent = text ? text.replaceAll("\n", "⏎\n") : name;
  element.classList.toggle("bare", !text); // it has no text of its own
  return element;
}

function focusOnly(row, element) {
  for (const other of row.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  element.tabIndex = 0;
}
