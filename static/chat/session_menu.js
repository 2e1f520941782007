// What can be done with a session of the list: its menu, and its title turned into a field.

import { api } from "./addresses.js";
import { listenToMenu, openMenu } from "./popover.js";
import { editSession } from "./session_edits.js";
import { say } from "./strings.js";

export class SessionMenu {
  /** handlers: changed(session), deleted(session), move(its dataset), renamed() when the field of a
      title is gone, focus(id), failed(message). */
  constructor(list, handlers) {
    this.list = list;
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
    listenToMenu(this.menu, (entry) => this.#choose(entry));
  }

  #open(button) {
    this.item = button.closest("[data-session]");
    const { pinned, session } = this.item.dataset;
    const archived = !document.getElementById("show-all").hidden;
    const shown = { pin: pinned !== "true", unpin: pinned === "true" };
    Object.assign(shown, { archive: !archived, unarchive: archived });
    for (const entry of this.menu.querySelectorAll("[role=menuitem]")) entry.hidden = shown[entry.dataset.act] === false;
    for (const link of this.menu.querySelectorAll("a[data-form]")) {
      link.href = api(`sessions/${session}/export?form=${link.dataset.form}`);
    }
    openMenu(this.menu, button);
  }

  #choose(entry) {
    const act = entry.dataset.act;
    if (!act) return; // a link: the browser does the rest
    if (act === "rename") return this.#rename(this.#row);
    if (act === "delete") return this.#delete();
    if (act === "move") return this.handlers.move(this.item.dataset);
    if (act === "pin" || act === "unpin") return this.#edit({ pinned: act === "pin" });
    if (act.endsWith("archive")) return this.#edit({ archived: act === "archive" });
  }

  /** As the list has it now: it may have been read again while the menu was open. */
  get #row() {
    const same = `[data-session="${CSS.escape(this.item.dataset.session)}"]`;
    return this.list.querySelector(same) ?? this.item;
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

  /** Shown at once; if it was not saved, the old one is back. */
  #saveTitle(item, title, focused) {
    this.item = item;
    const row = this.#row;
    const name = row.querySelector(".name");
    const before = name.textContent;
    name.textContent = title;
    this.#edit({ title }, (session) => {
      this.handlers.changed(session);
      if (focused) this.handlers.focus(session.id);
    }).then(() => row.isConnected && (name.textContent = before));
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
      this.handlers.renamed();
      if (save && title && title !== before) this.#saveTitle(item, title, focused);
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
