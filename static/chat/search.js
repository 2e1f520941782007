// Search over titles and messages: results instead of the list, chosen with arrows and Enter.

import { api, sessionPage } from "./addresses.js";
import { number, periodName, say } from "./strings.js";

const PAUSE = 150; // ms without a key, after which the server is asked
const byId = (id) => document.getElementById(id);

export class Search {
  /** failed: called with a message for the person. */
  constructor(field, failed) {
    this.field = field;
    this.failed = failed;
    this.results = byId("search-results");
    this.asked = 0;
    this.shown = ""; // the text that the results are of
    field.addEventListener("input", (event) => event.isComposing || this.#soon());
    field.addEventListener("compositionend", () => this.#soon());
    field.addEventListener("keydown", (event) => this.#key(event));
    if (field.value) this.#soon(); // the browser brings it back with the page
  }

  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(this.field.value.trim()), PAUSE);
  }

  async #ask(text) {
    clearTimeout(this.timer);
    const turn = ++this.asked;
    if (!text) return this.#show(null, text);
    const reply = await fetch(api(`search?${new URLSearchParams({ q: text })}`)).catch(() => null);
    const hits = reply?.ok ? await reply.json().catch(() => null) : null;
    if (turn !== this.asked) return; // the person has typed on
    if (hits) this.#show(hits, text);
    else this.failed(say("not_listed"));
  }

  /** hits: null shows the list of sessions again. */
  #show(hits, text) {
    this.shown = text;
    byId("found").hidden = !hits;
    byId("sessions").hidden = Boolean(hits);
    this.field.setAttribute("aria-expanded", Boolean(hits));
    this.results.replaceChildren(...(hits ?? []).map(option));
    byId("no-match").hidden = !hits || hits.length > 0;
    byId("found-count").textContent = hits ? say("found", { n: number(hits.length) }) : "";
    this.#choose(null);
  }

  get #chosen() {
    return this.results.querySelector('[aria-selected="true"]');
  }

  #choose(item) {
    this.#chosen?.setAttribute("aria-selected", "false");
    item?.setAttribute("aria-selected", "true");
    item?.scrollIntoView({ block: "nearest" });
    if (item) this.field.setAttribute("aria-activedescendant", item.id);
    else this.field.removeAttribute("aria-activedescendant");
  }

  /** What is chosen, or the first that is found for the text: not for one that was there before. */
  async #open(text) {
    if (text !== this.shown) await this.#ask(text);
    if (text !== this.shown) return; // the person has typed on, or no answer came
    (this.#chosen ?? this.results.querySelector("a"))?.click();
  }

  #key(event) {
    if (event.isComposing) return;
    const items = [...this.results.querySelectorAll("a")];
    const at = items.indexOf(this.#chosen);
    if (event.key === "Escape" && this.field.value) {
      this.field.value = "";
      this.#ask("");
    } else if (event.key === "ArrowDown" && items.length) {
      this.#choose(items[(at + 1) % items.length]);
    } else if (event.key === "ArrowUp" && items.length) {
      this.#choose(items.at(at < 0 ? -1 : at - 1));
    } else if (event.key === "Enter" && this.field.value.trim()) {
      this.#open(this.field.value.trim());
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

function option(hit, index) {
  const item = byId("hit-template").content.firstElementChild.cloneNode(true);
  const link = item.querySelector("a");
  link.id = `hit-${index}`;
  link.href = sessionPage(hit.session_id) + (hit.message_id ? `?message=${hit.message_id}` : "");
  item.querySelector(".day").textContent = periodName(new Date(hit.at));
  const name = item.querySelector(".name");
  const text = item.querySelector(".excerpt");
  text.hidden = !hit.message_id;
  if (hit.message_id) name.textContent = hit.title;
  // Text nodes only: whatever was found is shown, never interpreted.
  const mark = Object.assign(document.createElement("mark"), { textContent: hit.match });
  (hit.message_id ? text : name).replaceChildren(hit.before, mark, hit.after);
  return item;
}
