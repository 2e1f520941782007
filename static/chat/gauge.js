// How full the context is, as the server counts it: after each turn, on another branch, with other
// settings, and while a long draft is written.

import { number, say } from "./strings.js";

const PAUSE = 500; // ms without a key before a draft is counted
const LONG = 200; // characters by which a draft must have changed
const OPTIONAL = new Set(["summary", "files"]); // no row where there is none
const LEFT_OUT = { summarised: "context_summarised", to_summarise: "context_to_summarise" };
const TIGHT = 128; // tokens of room for an answer that are worth a word

export class Gauge {
  /** ask(fields): sends context.count; returns whether it could. counted(frame): news. */
  constructor(ask, counted) {
    this.ask = ask;
    this.counted = counted;
    this.box = document.querySelector(".gauge");
    this.detail = document.getElementById("gauge-detail");
    this.length = 0; // of the draft that was counted last
  }

  /** Count again, with what is being written. */
  count(text) {
    clearTimeout(this.timer);
    const client_id = crypto.randomUUID();
    const long = text.length >= LONG ? text : "";
    if (!this.ask({ client_id, text: long })) return;
    this.waiting = client_id;
    this.length = long.length;
  }

  /** The draft has changed; asks once the person pauses, and only if it is much. */
  typing(text) {
    clearTimeout(this.timer);
    const length = text.length >= LONG ? text.length : 0;
    if (length !== 0 ? Math.abs(length - this.length) < LONG : !this.length) return;
    this.timer = setTimeout(() => this.count(text), PAUSE);
  }

  /** What the server has counted; only the newest question's answer is shown. */
  apply(frame) {
    if (frame.client_id !== this.waiting) return;
    this.#show(frame);
    this.counted(frame);
  }

  /** Whether an error answers a question of ours: then nothing is known. */
  refused({ client_id }) {
    const ours = Boolean(client_id) && client_id === this.waiting;
    if (ours) this.box.hidden = true;
    return ours;
  }

  #show({ context_length: total, parts, left_out, memory }) {
    const used = parts.system + parts.summary + parts.files + parts.history + parts.message;
    const percent = number(Math.min(100, Math.ceil((100 * used) / total)));
    for (const [name, tokens] of Object.entries({ ...parts, free: Math.max(0, total - used) })) {
      const bar = this.box.querySelector(`[data-bar=${name}]`);
      if (bar) bar.style.flexGrow = tokens;
      const row = this.detail.querySelector(`[data-part=${name}]`);
      if (!row) continue;
      row.querySelector("dd").textContent = number(tokens);
      row.hidden = OPTIONAL.has(name) && !tokens;
    }
    const label = say("context_used", { percent });
    this.box.querySelector(".percent").textContent = `${percent} %`;
    this.box.querySelector("button").setAttribute("aria-label", label);
    const sum = say("context_of", { used: number(used), total: number(total) });
    this.detail.querySelector(".sum").textContent = sum;
    this.#warn(total - used, left_out, memory);
    this.box.hidden = false;
  }

  #warn(left, leftOut, memory) {
    const words = [];
    if (leftOut) words.push(say(LEFT_OUT[memory] ?? "context_left_out", { n: number(leftOut) }));
    if (left <= 0) words.push(say("context_refused"));
    else if (left < TIGHT) words.push(say("context_tight"));
    const warning = this.detail.querySelector(".warning");
    warning.textContent = words.join(" ");
    warning.hidden = !words.length;
    warning.classList.toggle("calm", left >= TIGHT && memory in LEFT_OUT);
    this.box.classList.toggle("full", left < TIGHT);
  }
}
