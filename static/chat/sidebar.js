// The sidebar: opened and closed, a drawer on a narrow screen, with the list of sessions in it.

import { home, sessionPage } from "./addresses.js";
import { Folders } from "./folders.js";
import { Search } from "./search.js";
import { SessionList } from "./session_list.js";
import { SessionMenu } from "./session_menu.js";
import { load, store } from "./storage.js";
import { Undo } from "./undo.js";

const narrow = matchMedia("(max-width: 60rem)");
const root = document.documentElement;
const byId = (id) => document.getElementById(id);

export class Sidebar {
  /** handlers: leave(path), changed(session), failed(message). */
  constructor(handlers) {
    this.handlers = handlers;
    const failed = handlers.failed;
    this.search = byId("search");
    this.sessions = new SessionList(failed);
    this.undo = new Undo({ restored: (session, wasOpen) => this.#restored(session, wasOpen), failed });
    new Search(this.search, failed);
    this.folders = new Folders(this.sessions.list, {
      choose: (folder) => this.sessions.showFolder(folder),
      moved: (session) => this.apply(session),
      failed,
    });
    this.menu = new SessionMenu(this.sessions.list, {
      changed: (session) => this.apply(session),
      deleted: (session) => this.#deleted(session),
      move: ({ session, folder }) => this.folders.offer(session, folder),
      renamed: () => this.sessions.settle(),
      focus: (id) => this.sessions.find(id)?.querySelector("a").focus(),
      failed,
    });
    byId("toggle-sidebar").addEventListener("click", () => this.toggle());
    byId("close-sidebar").addEventListener("click", () => this.#drawer(false));
    byId("backdrop").addEventListener("click", () => this.#drawer(false));
    narrow.addEventListener("change", () => this.#drawer(false));
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

  /** The list has changed behind the page's back. */
  refresh() {
    this.sessions.refresh();
  }

  /** True if there was a drawer to close. */
  closeDrawer() {
    const open = root.dataset.drawer === "open";
    if (open) this.#drawer(false);
    return open;
  }

  touch(id, title, model) {
    this.sessions.touch(id, title, model);
  }

  /** What the server says of a session that was changed here or elsewhere. */
  apply(session) {
    this.sessions.apply(session);
    const mine = session.deleted && session.id === this.menu.deleting;
    if (!mine) this.handlers.changed(session);
  }

  #deleted(session) {
    const wasOpen = byId("conversation").dataset.session === session.id;
    this.sessions.apply(session);
    this.undo.offer(session, wasOpen);
    if (wasOpen) this.handlers.leave(home);
  }

  #restored(session, wasOpen) {
    if (wasOpen) return this.handlers.leave(sessionPage(session.id));
    this.apply(session);
    this.sessions.find(session.id)?.querySelector("a").focus();
  }

  #drawer(open) {
    if (open) root.dataset.drawer = "open";
    else delete root.dataset.drawer;
    document.querySelector("main").inert = open;
    if (open) byId("close-sidebar").focus();
    else if (narrow.matches) byId("toggle-sidebar").focus();
  }
}
