// The line in a conversation above which the model no longer reads, and the summary in its place.

import { say } from "./strings.js";

export class MemoryLine {
  constructor(conversation) {
    this.conversation = conversation;
  }

  /** What the server has counted: begins is the first message that is read. */
  told({ left_out, memory, summary, begins }) {
    this.line = left_out ? lineOf(memory, summary) : null;
    this.begins = begins;
    this.show();
  }

  /** Draw it where it belongs, if that is on the page: earlier messages come later. */
  show() {
    const { root } = this.conversation;
    const old = root.querySelector(".memory-line");
    const place = this.line && this.#place(root);
    if (old && place && old.innerHTML === this.line.innerHTML && old.parentElement === place) return;
    for (const each of root.querySelectorAll(".memory-line")) each.remove();
    // Inside of a message: messages stay each other's neighbours.
    if (place && this.begins) place.prepend(this.line);
    else place?.append(this.line);
  }

  #place(root) {
    if (this.begins) return this.conversation.find(this.begins)?.element;
    return [...root.querySelectorAll(".message:not(.pending)")].at(-1);
  }
}

function lineOf(memory, text) {
  const line = document.createElement(text ? "details" : "p");
  line.className = "memory-line";
  const words = say(WORDS[memory]);
  if (!text) {
    line.textContent = words;
    return line;
  }
  const [head, body] = [document.createElement("summary"), document.createElement("p")];
  const arrow = document.createElement("span");
  arrow.setAttribute("aria-hidden", "true");
  arrow.textContent = "▾";
  head.append(words, arrow);
  body.textContent = text;
  body.dir = "auto";
  line.append(head, body);
  return line;
}

const WORDS = {
  left_out: "memory_begins",
  summarised: "memory_summary",
  to_summarise: "memory_to_summarise",
  not_summarised: "memory_not_summarised",
};
