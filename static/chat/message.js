// One message: its exact text beside what is shown of it, and the line of numbers below.

import { addCopyButtons } from "./clipboard.js";
import { linkCitations, showFiles, showPassages } from "./sources.js";
import { number, say } from "./strings.js";
import { showVersions } from "./versions.js";

export class Message {
  /** element: an <article class="message">. `element.message` leads back here. */
  constructor(element, { text = "", plain }) {
    this.element = element;
    this.content = element.querySelector(".content");
    this.plain = plain; // shown as it is, not as blocks of markdown
    this.model = ""; // that wrote it
    this.text = text;
    this.characters = [...text].length; // as Python counts: code points
    this.content.classList.toggle("plain", plain);
    element.message = this;
    addCopyButtons(this.content);
  }

  get id() {
    return this.element.dataset.messageId;
  }

  set id(id) {
    this.element.dataset.messageId = id;
    this.element.classList.remove("pending");
    delete this.element.dataset.clientId;
  }

  /** The messages in this place of the conversation, oldest first; this is one of them. */
  get versions() {
    return this.beside ?? [this.id];
  }

  set versions(ids) {
    this.beside = ids;
    showVersions(this.element, this.id, ids);
  }

  /** What is attached to it, as the server tells of it. */
  get files() {
    return this.attached ?? [];
  }

  set files(files) {
    this.attached = files;
    showFiles(this.element, files);
  }

  /** Of files, that the answer is written with. */
  set passages(passages) {
    showPassages(this.element, passages);
  }

  get status() {
    return this.element.dataset.status ?? "";
  }

  set status(status) {
    this.element.dataset.status = status;
  }

  /**
   * Put `text` at character `offset`; whatever stood from there on is replaced. A frame without
   * blocks shows its text as it is, at the end of the last block, until blocks come again.
   */
  write(offset, text, blocks) {
    const kept =
      offset === this.characters ? this.text : [...this.text].slice(0, offset).join("");
    this.text = kept + text;
    this.characters = Math.min(offset, this.characters) + [...text].length;
    if (this.plain) this.content.textContent = this.text;
    else if (blocks) this.replaceBlocks(blocks);
    else this.#show(text);
  }

  #show(text) {
    if (!this.raw?.isConnected) {
      let place = this.content.lastElementChild ?? this.content;
      place = place.querySelector("pre > code") ?? place;
      while (place.lastElementChild) place = place.lastElementChild;
      this.raw = place.appendChild(document.createTextNode(""));
    }
    this.raw.data += text;
  }

  replaceBlocks({ from, html }) {
    this.raw?.remove();
    while (this.content.children.length > from) this.content.lastElementChild.remove();
    this.content.insertAdjacentHTML("beforeend", html.join(""));
    addCopyButtons(this.content);
  }

  /** The end of a generation, as in the frame message.end and in the page's own state. */
  end({ status, finish_reason, usage, timings, seed, error, can_continue }) {
    this.status = status;
    const outcome = this.element.querySelector(".outcome");
    outcome.textContent = outcomeOf(status, finish_reason, error);
    outcome.hidden = !outcome.textContent;
    this.element.querySelector(".continue").hidden = !can_continue;
    linkCitations(this.element);
    const numbers = this.element.querySelector(".numbers");
    numbers.replaceChildren(...numbersOf(usage, timings, seed));
    numbers.hidden = !numbers.childElementCount;
  }
}

function outcomeOf(status, reason, error) {
  if (status === "FAILED") return error?.message || say("failed");
  if (status === "STOPPED") return say("stopped");
  if (reason === "content_filter") return say("filtered");
  return reason === "length" ? say("length") : "";
}

function numbersOf(usage, timings, seed) {
  const items = [];
  const add = (text, title) => {
    const item = document.createElement("span");
    item.textContent = text;
    item.title = title;
    items.push(item);
  };
  if (usage?.output_tokens) {
    add(say("tokens", { n: number(usage.output_tokens) }), say("tokens_title", {
      prompt: number(usage.prompt_tokens),
      cached: number(usage.cached_tokens),
    }));
  }
  if (usage?.cached_tokens) {
    add(say("cached", { n: number(usage.cached_tokens) }), say("cached_title"));
  }
  if (timings?.tokens_per_s) {
    add(say("speed", { n: number(timings.tokens_per_s, 1) }), say("speed_title"));
  }
  if (timings?.first_token_s) {
    const digits = timings.first_token_s < 0.1 ? 3 : 2;
    add(say("first", { n: number(timings.first_token_s, digits) }), say("first_title"));
  }
  if (timings?.drafted_tokens) {
    const counts = { right: number(timings.accepted_tokens), n: number(timings.drafted_tokens) };
    add(say("guessed", counts), say("guessed_title"));
  }
  if (seed !== null && seed !== undefined) add(say("seed", { n: String(seed) }), say("seed_title"));
  return items;
}
