// The list of sessions: pinned ones first, then by day, page by page; or those that are archived.

import { sessionPage } from "./addresses.js";
import { fetchPage } from "./session_edits.js";
import { periodName, say } from "./strings.js";

const byId = (id) => document.getElementById(id);

export class SessionList {
  /** failed: called with a message for the person. */
  constructor(failed) {
    this.failed = failed;
    this.box = byId("sessions");
    this.list = this.box.querySelector("ul");
    this.older = byId("older-sessions");
    this.pageSize = Number(this.list.dataset.pageSize);
    this.archived = false;
    this.folder = ""; // the id of the one that is shown alone
    this.waiting = new Map(); // changes that `settle` makes, by what they change
    this.older.hidden = this.#others.length < this.pageSize;
    this.older.addEventListener("click", () => this.#loadOlder());
    byId("show-archived").addEventListener("click", () => this.show(true));
    byId("show-all").addEventListener("click", () => this.show(false));
    // A page that comes back to the front may have missed what other browsers did.
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
    new IntersectionObserver((seen) => seen.at(-1).isIntersecting && this.#loadOlder()).observe(
      this.older,
    );
    this.#group();
  }

  get items() {
    return [...this.list.querySelectorAll("[data-session]")];
  }

  get #others() {
    return this.items.filter((item) => item.dataset.pinned !== "true");
  }

  find(id) {
    return this.list.querySelector(`[data-session="${CSS.escape(id)}"]`);
  }

  /** Change to the archived sessions, or back. */
  async show(archived) {
    this.archived = archived;
    byId("show-archived").hidden = archived;
    byId("show-all").hidden = !archived;
    byId("archived-title").hidden = !archived;
    byId(archived ? "show-all" : "show-archived").focus();
    await this.refresh();
  }

  /** What the server says of a session, because of this page or of another one. */
  apply(session) {
    if (this.find(session.id)?.querySelector("input")) {
      this.waiting.set(session.id, () => this.apply(session));
      return;
    }
    const isHere = session.archived === this.archived && this.#isInFolder(session);
    this.#keepingFocus(() => {
      this.find(session.id)?.remove();
      if (!session.deleted && isHere) this.#place(session);
    });
    this.#group();
  }

  /** Nobody's typing is thrown away: what would make the row anew in which a title is being typed
      waits for this, which is called when the field is gone. */
  settle() {
    const changes = [...this.waiting.values()];
    this.waiting.clear();
    for (const change of changes) change();
  }

  /** A row that is made anew, say because this page hears of its own change once more, keeps the
      focus that the old one had. */
  #keepingFocus(change) {
    const focused = document.activeElement;
    const row = focused.closest("[data-session]");
    change();
    if (!row || row.isConnected) return;
    const part = focused.matches(".more") ? ".more" : "a";
    this.find(row.dataset.session)?.querySelector(part).focus({ preventScroll: true });
  }

  /** Show one folder alone, or ("") all sessions. */
  async showFolder(folder) {
    this.folder = folder;
    await this.refresh();
  }

  #isInFolder({ folder_id }) {
    return !this.folder || folder_id === this.folder;
  }

  /** A session was begun or spoken in: it stands first among its kind. */
  touch(id, title, model) {
    const item = this.find(id);
    const pinned = item?.dataset.pinned === "true";
    const updated_at = new Date().toISOString();
    const position = item?.dataset.position ?? `${updated_at}~${id}`;
    const folder_id = item?.dataset.folder || null;
    const session = { id, title, model, pinned, updated_at, position, folder_id };
    this.apply({ ...session, archived: false, deleted: false });
  }

  #place(session) {
    const item = filled(byId("session-template").content.firstElementChild.cloneNode(true), session);
    const before = this.items.find((other) => comesBefore(session, other.dataset));
    // Behind the last one that is loaded, it comes with its page.
    if (before) before.before(item);
    else if (this.older.hidden || session.pinned) this.list.append(item);
  }

  /** Read the first page again. */
  async refresh() {
    const { archived, folder } = this;
    const sessions = await this.#fetch("");
    if (!sessions || archived !== this.archived || folder !== this.folder) return;
    if (this.list.querySelector("input")) {
      this.waiting.set("all", () => this.refresh());
      return;
    }
    this.#keepingFocus(() => {
      this.list.replaceChildren();
      this.#append(sessions);
    });
  }

  async #loadOlder() {
    const last = this.#others.at(-1);
    if (this.loading || this.older.hidden || !last) return;
    this.loading = true;
    const sessions = await this.#fetch(last.dataset.position);
    this.loading = false;
    // The list may be another one by now.
    if (sessions && last.isConnected) this.#append(sessions);
  }

  #append(sessions) {
    const template = byId("session-template").content.firstElementChild;
    for (const session of sessions) {
      if (!this.find(session.id)) this.list.append(filled(template.cloneNode(true), session));
    }
    this.older.hidden = sessions.filter((session) => !session.pinned).length < this.pageSize;
    this.#group();
  }

  async #fetch(before) {
    try {
      return await fetchPage(this.archived, this.folder, before, this.pageSize);
    } catch (error) {
      this.failed(error.message);
    }
  }

  #group() {
    for (const heading of this.list.querySelectorAll("h2")) heading.parentElement.remove();
    let group = "";
    for (const item of this.items) {
      const pinned = item.dataset.pinned === "true";
      const name = pinned ? say("pinned") : periodName(new Date(item.dataset.updated));
      if (name !== group) item.before(heading(name));
      group = name;
    }
    const empty = this.items.length === 0;
    byId("no-sessions").hidden = !empty || this.archived || Boolean(this.folder);
    byId("no-filed").hidden = !empty || this.archived || !this.folder;
    byId("no-archived").hidden = !empty || !this.archived;
  }
}

/** Write what the server says of a session into its row. */
function filled(item, { id, title, model, pinned, updated_at, position, folder_id }) {
  Object.assign(item.dataset, { session: id, pinned, updated: updated_at, position });
  item.dataset.folder = folder_id ?? "";
  const link = item.querySelector("a");
  link.href = sessionPage(id);
  if (document.getElementById("conversation").dataset.session === id) {
    link.setAttribute("aria-current", "page");
  }
  link.title = title;
  item.querySelector(".name").textContent = title;
  item.querySelector(".model").textContent = model;
  item.querySelector(".more .sr").textContent = say("actions_named", { title });
  return item;
}

function comesBefore(session, row) {
  const pinned = row.pinned === "true";
  if (session.pinned !== pinned) return session.pinned;
  return new Date(session.updated_at) >= new Date(row.updated);
}

function heading(name) {
  const item = document.createElement("li");
  item.className = "day";
  const title = document.createElement("h2");
  title.textContent = name;
  item.append(title);
  return item;
}
