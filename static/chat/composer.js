// Where a person writes: grows with the text, keeps drafts, sends on Enter, never in mid-word.

import { load, store } from "./storage.js";

export class Composer {
  /**
   * handlers: submit(text), changed(text), and canSend(text): whether there is something to send.
   * draft: the key under which unsent text is kept.
   */
  constructor(form, draft, handlers) {
    this.form = form;
    this.area = form.querySelector("textarea");
    this.sendButton = form.querySelector("#send");
    this.stopButton = form.querySelector("#stop");
    this.handlers = handlers;
    this.busy = false;
    this.area.addEventListener("input", () => this.#changed());
    this.area.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.useDraft(draft);
  }

  get text() {
    return this.area.value;
  }

  set text(text) {
    this.area.value = text;
    this.#changed();
  }

  useDraft(key) {
    this.draft = `draft:${key}`;
    this.text = load(this.draft);
  }

  /** The draft goes on under another name, as when a new session gets its id; "": nowhere. */
  renameDraft(key) {
    if (this.draft) store(this.draft, "");
    this.draft = key && `draft:${key}`;
    this.#keep();
  }

  #keep() {
    if (this.draft) store(this.draft, this.text);
  }

  /** Give back what could not be sent, without losing what was written since. */
  restore(text) {
    this.text = this.text ? `${text}\n${this.text}` : text;
    this.area.focus();
  }

  /** busy: an answer is being written. stoppable: and it can be stopped by now. */
  setBusy(busy, stoppable = busy) {
    const hadFocus = [this.sendButton, this.stopButton].includes(document.activeElement);
    this.busy = busy;
    this.sendButton.hidden = busy;
    this.stopButton.hidden = !busy;
    this.stopButton.disabled = !stoppable;
    if (hadFocus) this.area.focus();
  }

  #key(event) {
    // keyCode 229: some browsers end a composition before the Enter that confirmed it.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.submit();
  }

  submit() {
    const text = this.text;
    if (!this.handlers.canSend(text) || this.busy) return;
    this.text = "";
    this.handlers.submit(text);
  }

  /** Put text where the cursor is. */
  insert(text) {
    this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
    this.#changed();
    this.area.focus();
  }

  /** Not on a phone, where the keyboard would cover what the person came to read. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.area.focus();
  }

  refresh() {
    this.sendButton.disabled = !this.handlers.canSend(this.text);
  }

  #changed() {
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight}px`;
    this.refresh();
    this.#keep();
    this.handlers.changed(this.text);
  }
}
