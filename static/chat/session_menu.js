// What can be done with a session of the list: its menu, and its title turned into a field.

import { editSession } from "./session_edits.js";
import { say } from "./strings.js";

export class SessionMenu {
  /** handlers: changed(session), deleted(session), failed(message). */
  constructor(list, handlers) {
    this.handlers = handlers;
    this.menu = document.getElementById("session-menu");
    list.addEventListener("click", (event) => {
      const button = event.target.closest(".more");
      if (button) this.#open(button);
    });
    list.addEventListener("contextmenu", (event) => {
      const button = event.target.closest("[data-session]")?.querySelector(".more");
      if (!button || event.target.matches("input")) return;
      event.preventDefault();
      this.#open(button);
    });
    this.menu.addEventListener("click", (event) => this.#choose(event.target.closest("[role=menuitem]")));
    this.menu.addEventListener("keydown", (event) => this.#move(event));
    this.menu.addEventListener("toggle", ({ newState }) => {
      if (newState === "closed") this.button?.setAttribute("aria-expanded", "false");
    });
  }

  #open(button) {
    this.button = button;
    this.item = button.closest("[data-session]");
    const { pinned, session } = this.item.dataset;
    const archived = !document.getElementById("show-all").hidden;
    const shown = { pin: pinned !== "true", unpin: pinned === "true" };
    Object.assign(shown, { archive: !archived, unarchive: archived });
    for (const entry of this.#entries(true)) entry.hidden = shown[entry.dataset.act] === false;
    for (const link of this.menu.querySelectorAll("a[data-form]")) {
      link.href = `/api/sessions/${session}/export?form=${link.dataset.form}`;
    }
    this.menu.showPopover();
    button.setAttribute("aria-expanded", "true");
    this.#stand(button.getBoundingClientRect());
    this.#entries()[0].focus();
  }

  /** Below the button, or above it where there is no room. */
  #stand(at) {
    const { offsetWidth: width, offsetHeight: height } = this.menu;
    const below = at.bottom + height + 8 < innerHeight;
    this.menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - height - 4)}px`;
    this.menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  }

  #entries(all = false) {
    const entries = [...this.menu.querySelectorAll("[role=menuitem]")];
    return all ? entries : entries.filter((entry) => !entry.hidden);
  }

  #move(event) {
    const entries = this.#entries();
    const at = entries.indexOf(document.activeElement);
    const step = { ArrowDown: at + 1, ArrowUp: at - 1 + entries.length, Home: 0, End: -1 }[event.key];
    if (event.key === "Tab") this.menu.hidePopover();
    if (step === undefined) return;
    event.preventDefault();
    entries.at(step === -1 ? -1 : step % entries.length).focus();
  }

  #choose(entry) {
    if (!entry) return;
    this.menu.hidePopover();
    const act = entry.dataset.act;
    if (!act) return; // a link: the browser does the rest
    if (act === "rename") return this.#rename(this.item);
    if (act === "delete") return this.#delete();
    if (act === "pin" || act === "unpin") return this.#edit({ pinned: act === "pin" });
    if (act.endsWith("archive")) return this.#edit({ archived: act === "archive" });
  }

  #delete() {
    this.deleting = this.item.dataset.session; // what other pages are told is no news here
    return this.#edit({ deleted: true }, this.handlers.deleted);
  }

  async #edit(changes, then = this.handlers.changed) {
    try {
      then(await editSession(this.item.dataset.session, changes));
    } catch (error) {
      this.handlers.failed(error.message);
    }
  }

  /** The title becomes a field: Enter and leaving it save, Escape does not. */
  #rename(item) {
    const link = item.querySelector("a");
    const before = item.querySelector(".name").textContent;
    const field = Object.assign(document.createElement("input"), { value: before, maxLength: 200 });
    field.className = "rename";
    field.setAttribute("aria-label", say("title_of_session"));
    link.hidden = true;
    link.before(field);
    field.focus();
    field.select();
    const close = (save) => {
      if (!field.isConnected || field.closing) return;
      field.closing = true;
      const title = field.value.trim();
      const focused = document.activeElement === field;
      field.remove();
      link.hidden = false;
      if (focused) link.focus();
      if (!save || !title || title === before) return;
      item.querySelector(".name").textContent = title;
      this.item = item;
      this.#edit({ title }, (session) => {
        this.handlers.changed(session);
        if (focused) this.handlers.focus(session.id);
      }).then(() => item.isConnected && (item.querySelector(".name").textContent = before));
    };
    field.addEventListener("blur", () => close(true));
    field.addEventListener("keydown", (event) => {
      // Enter and Escape of an input method are not ours.
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      close(event.key === "Enter");
    });
  }
}
