// The list of sessions: grouped by day, filtered, opened as a drawer, and deleted from.

import { load, store } from "./storage.js";
import { dayName, say } from "./strings.js";

const narrow = matchMedia("(max-width: 60rem)");
const root = document.documentElement;
const byId = (id) => document.getElementById(id);

export class Sidebar {
  /** handlers: deleted(id), failed(message). */
  constructor(handlers) {
    this.handlers = handlers;
    this.list = byId("sessions").querySelector("ul");
    this.search = byId("search");
    byId("toggle-sidebar").addEventListener("click", () => this.toggle());
    byId("close-sidebar").addEventListener("click", () => this.#drawer(false));
    byId("backdrop").addEventListener("click", () => this.#drawer(false));
    this.search.addEventListener("input", () => this.#filter());
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest(".delete");
      if (button) this.#confirm(button.closest("[data-session]"));
    });
    narrow.addEventListener("change", () => this.#drawer(false));
    this.#group();
  }

  toggle() {
    if (narrow.matches) return this.#drawer(root.dataset.drawer !== "open");
    const closed = root.dataset.sidebar !== "closed";
    if (closed) root.dataset.sidebar = "closed";
    else delete root.dataset.sidebar;
    store("sidebar", closed ? "closed" : "");
  }

  /** Open what must be open, and put the cursor into the search field. */
  find() {
    if (narrow.matches) this.#drawer(true);
    else if (load("sidebar") === "closed") this.toggle();
    this.search.focus();
    this.search.select();
  }

  /** True if there was a drawer to close. */
  closeDrawer() {
    const open = root.dataset.drawer === "open";
    if (open) this.#drawer(false);
    return open;
  }

  /** A session was begun or spoken in: it stands first, under today. */
  touch(id, title, model) {
    let item = this.list.querySelector(`[data-session="${CSS.escape(id)}"]`);
    if (!item) {
      item = byId("session-template").content.firstElementChild.cloneNode(true);
      item.dataset.session = id;
      item.querySelector("a").href = `/sessions/${id}/`;
      item.querySelector("a").setAttribute("aria-current", "page");
      item.querySelector(".model").textContent = model;
    }
    item.querySelector(".name").textContent = title;
    item.querySelector(".delete .sr").textContent = say("delete_named", { title });
    item.dataset.updated = new Date().toISOString();
    this.list.prepend(item);
    this.#group();
  }

  #drawer(open) {
    if (open) root.dataset.drawer = "open";
    else delete root.dataset.drawer;
    document.querySelector("main").inert = open;
    if (open) byId("close-sidebar").focus();
    else if (narrow.matches) byId("toggle-sidebar").focus();
  }

  #group() {
    for (const heading of this.list.querySelectorAll("h2")) heading.parentElement.remove();
    let day = "";
    for (const item of [...this.list.children]) {
      const name = dayName(new Date(item.dataset.updated));
      if (name !== day) item.before(this.#heading(name));
      day = name;
    }
    this.#filter();
  }

  #heading(name) {
    const item = document.createElement("li");
    item.className = "day";
    const heading = document.createElement("h2");
    heading.textContent = name;
    item.append(heading);
    return item;
  }

  #filter() {
    const wanted = this.search.value.trim().toLocaleLowerCase();
    const items = [...this.list.querySelectorAll("[data-session]")];
    for (const item of items) {
      const title = item.querySelector(".name").textContent.toLocaleLowerCase();
      item.hidden = !title.includes(wanted);
    }
    for (const day of this.list.querySelectorAll(".day")) day.hidden = Boolean(wanted);
    byId("no-sessions").hidden = items.length > 0;
    byId("no-match").hidden = items.length === 0 || items.some((item) => !item.hidden);
  }

  #confirm(item) {
    const dialog = byId("confirm-delete");
    dialog.querySelector("strong").textContent = item.querySelector(".name").textContent;
    dialog.returnValue = "keep";
    dialog.addEventListener(
      "close",
      () => dialog.returnValue === "delete" && this.#delete(item),
      { once: true },
    );
    dialog.showModal();
  }

  async #delete(item) {
    const id = item.dataset.session;
    const headers = { "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content };
    const reply = await fetch(`/api/sessions/${id}`, { method: "DELETE", headers }).catch(() => null);
    if (!reply?.ok && reply?.status !== 404) return this.handlers.failed(say("not_deleted"));
    item.remove();
    store(`draft:${id}`, "");
    this.#group();
    this.handlers.deleted(id);
  }
}
