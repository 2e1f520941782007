// A session was deleted: for a few seconds, and on the next page too, that can be taken back.

import { editSession } from "./session_edits.js";
import { store } from "./storage.js";
import { say } from "./strings.js";

const OFFERED = 10_000; // ms; the server keeps the session for longer
const KEY = "undo";

export class Undo {
  /** handlers: restored(session, wasOpen), failed(message). */
  constructor(handlers) {
    this.handlers = handlers;
    this.bar = document.getElementById("undo");
    this.bar.querySelector("button").addEventListener("click", () => this.#undo());
    const kept = remembered();
    if (kept) this.#show(kept);
  }

  /** wasOpen: the page of the session itself is left because of it. */
  offer({ id, title }, wasOpen) {
    const deleted = { id, title, wasOpen, until: Date.now() + OFFERED };
    remember(deleted);
    this.#show(deleted);
    if (!wasOpen) this.bar.querySelector("button").focus();
  }

  #show(deleted) {
    clearTimeout(this.timer);
    this.deleted = deleted;
    this.bar.hidden = false;
    // After it is shown: a status that changes is read aloud.
    this.bar.querySelector("p").textContent = say("deleted_named", deleted);
    this.timer = setTimeout(() => this.#forget(), deleted.until - Date.now());
  }

  #forget() {
    this.#hide();
    store(`draft:${this.deleted.id}`, "");
  }

  #hide() {
    clearTimeout(this.timer);
    this.bar.hidden = true;
    remember(null);
  }

  async #undo() {
    this.#hide();
    try {
      const session = await editSession(this.deleted.id, { deleted: false });
      this.handlers.restored(session, this.deleted.wasOpen);
    } catch (error) {
      this.handlers.failed(error.message);
    }
  }
}

function remember(deleted) {
  try {
    if (deleted) sessionStorage.setItem(KEY, JSON.stringify(deleted));
    else sessionStorage.removeItem(KEY);
  } catch {
    // Then this page alone offers it.
  }
}

function remembered() {
  try {
    const deleted = JSON.parse(sessionStorage.getItem(KEY));
    return deleted?.until > Date.now() ? deleted : null;
  } catch {
    return null;
  }
}
