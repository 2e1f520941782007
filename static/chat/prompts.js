// Prompts that are kept: "/" in an empty message lists them, and the chosen one becomes the message.

import { leave, promptsPage } from "./addresses.js";
import { ask } from "./ask.js";
import { number, say } from "./strings.js";

const ASKED = /^\/[^\n]{0,80}$/;
const byId = (id) => document.getElementById(id);

export class Prompts {
  /** failed: called with a message for the person. */
  constructor(composer, failed) {
    this.composer = composer;
    this.failed = failed;
    this.area = composer.area;
    this.list = byId("prompts");
    this.template = byId("prompt-template").content.firstElementChild;
    this.prompts = null; // read anew each time that the list opens
    this.left = false; // closed by the person, until the text is another one
    this.area.addEventListener("input", () => this.#typed());
    this.area.addEventListener("blur", () => this.#close());
    // Before the composer's own, which sends.
    this.area.addEventListener("keydown", (event) => this.#key(event), true);
    this.list.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays
    this.list.addEventListener("click", ({ target }) => this.#take(target.closest("li")));
  }

  async #typed() {
    if (!ASKED.test(this.area.value)) {
      this.left = false;
      return this.#close();
    }
    if (this.left) return;
    this.prompts ??= ask("GET", "prompts");
    try {
      const prompts = await this.prompts;
      if (this.prompts) this.#show(prompts);
    } catch (error) {
      this.#close();
      this.failed(error.message);
    }
  }

  #show(prompts) {
    const asked = this.area.value.slice(1).trim().toLocaleLowerCase();
    const found = prompts.filter(({ name }) => name.toLocaleLowerCase().includes(asked));
    const rows = found.map((prompt) => this.#row(prompt));
    if (!asked) rows.push(this.#row({ name: say("prompts_own"), text: "", page: promptsPage }));
    rows.forEach((row, at) => (row.id = `prompt-${at}`));
    this.list.replaceChildren(...rows);
    this.list.hidden = !rows.length;
    byId("announcer").textContent = say("prompts_found", { n: number(found.length) });
    this.#choose(found.length ? rows[0] : null);
  }

  #row(prompt) {
    const row = this.template.cloneNode(true);
    row.prompt = prompt;
    row.querySelector(".name").textContent = prompt.name;
    row.querySelector(".excerpt").textContent = prompt.text.slice(0, 200);
    return row;
  }

  get #chosen() {
    return this.list.querySelector('[aria-selected="true"]');
  }

  #choose(row) {
    this.#chosen?.setAttribute("aria-selected", "false");
    row?.setAttribute("aria-selected", "true");
    row?.scrollIntoView({ block: "nearest" });
    if (row) this.area.setAttribute("aria-activedescendant", row.id);
    else this.area.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    if (this.list.hidden || event.isComposing || event.keyCode === 229) return;
    const rows = [...this.list.children];
    const at = rows.indexOf(this.#chosen);
    const plain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Escape") {
      this.left = true;
      this.#close();
    } else if (event.key === "ArrowDown") {
      this.#choose(rows[(at + 1) % rows.length]);
    } else if (event.key === "ArrowUp") {
      this.#choose(rows.at(at < 0 ? -1 : at - 1));
    } else if (plain && at >= 0 && (event.key === "Enter" || event.key === "Tab")) {
      this.#take(rows[at]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  #take(row) {
    if (!row) return;
    const { text, page } = row.prompt;
    this.#close();
    this.composer.text = text;
    if (page) return leave(page);
    this.area.setSelectionRange(text.length, text.length);
    this.area.scrollTop = this.area.scrollHeight;
  }

  #close() {
    this.prompts = null;
    this.list.hidden = true;
    this.#choose(null);
  }
}
