// Folders of sessions: chosen to see one alone, made, renamed, deleted; sessions are moved by menu,
// or dragged.

import { ask } from "./ask.js";
import { listenToMenu, openMenu } from "./popover.js";
import { editSession } from "./session_edits.js";
import { say } from "./strings.js";

const DRAGGED = "application/x-tinyllm-session";
const byId = (id) => document.getElementById(id);

export class Folders {
  /** handlers: choose(id or ""), moved(session), failed(message). list: of the sessions. */
  constructor(list, handlers) {
    this.handlers = handlers;
    this.box = byId("folders");
    this.list = this.box.querySelector("ul");
    this.dialog = byId("folder-dialog");
    this.form = byId("folder-form");
    this.chosen = "";
    this.folders = [];
    byId("new-folder").addEventListener("click", () => this.#name(null));
    this.list.addEventListener("click", (event) => this.#press(event.target.closest("button")));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.form.querySelector(".cancel").addEventListener("click", () => this.dialog.close());
    byId("move-folders").addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (!button) return;
      byId("move-dialog").close();
      if (button.dataset.folder === "new") this.#name(null, this.moving);
      else this.#move(this.moving, button.dataset.folder);
    });
    listenToMenu(byId("folder-menu"), ({ dataset }) => {
      if (dataset.act === "rename-folder") this.#name(this.acting);
      else this.#delete(this.acting);
    });
    this.#listenForDragging(list);
    this.#read();
  }

  /** Ask where the session is to go. */
  offer(session, current) {
    this.moving = session;
    const choices = [{ id: "", name: say("no_folder") }, ...this.folders, { id: "new", name: say("new_folder") }];
    byId("move-folders").replaceChildren(
      ...choices.map(({ id, name }) => {
        const button = Object.assign(document.createElement("button"), { type: "button" });
        button.dataset.folder = id;
        button.textContent = name;
        button.dir = "auto";
        if (id === current) button.setAttribute("aria-current", "true");
        const item = document.createElement("li");
        item.append(button);
        return item;
      }),
    );
    byId("move-dialog").showModal();
  }

  async #read() {
    try {
      this.folders = await ask("GET", "folders");
      this.#show();
    } catch (error) {
      this.handlers.failed(error.message);
    }
  }

  #show() {
    const template = byId("folder-template").content.firstElementChild;
    this.folders.sort((one, other) => one.name.localeCompare(other.name));
    this.list.replaceChildren(
      ...this.folders.map(({ id, name }) => {
        const item = template.cloneNode(true);
        item.dataset.folder = id;
        item.querySelector(".name").textContent = name;
        item.querySelector(".folder").title = name;
        item.querySelector(".folder").setAttribute("aria-pressed", String(id === this.chosen));
        item.querySelector(".more .sr").textContent = say("actions_named", { title: name });
        return item;
      }),
    );
  }

  #press(button) {
    if (!button) return;
    const { folder } = button.closest("li").dataset;
    if (button.matches(".more")) {
      this.acting = this.folders.find(({ id }) => id === folder);
      openMenu(byId("folder-menu"), button);
    } else this.#choose(folder === this.chosen ? "" : folder);
  }

  #choose(folder) {
    this.chosen = folder;
    for (const item of this.list.children) {
      const pressed = String(item.dataset.folder === folder);
      item.querySelector(".folder").setAttribute("aria-pressed", pressed);
    }
    this.handlers.choose(folder);
  }

  /** folder: null makes one. session: goes into it. */
  #name(folder, session = null) {
    this.naming = { folder, session };
    const title = byId("folder-dialog-title");
    title.textContent = folder ? title.dataset.rename : title.dataset.new;
    byId("folder-name").value = folder?.name ?? "";
    this.#complain("");
    this.dialog.showModal();
    byId("folder-name").select();
  }

  async #save() {
    const { folder, session } = this.naming;
    const name = byId("folder-name").value;
    try {
      const saved = folder
        ? await ask("PATCH", `folders/${folder.id}`, { name })
        : await ask("POST", "folders", { name });
      this.folders = [...this.folders.filter(({ id }) => id !== saved.id), saved];
      this.#show();
      this.dialog.close();
      if (session) this.#move(session, saved.id);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #complain(message) {
    const line = this.form.querySelector(".errorlist");
    line.textContent = message;
    line.hidden = !message;
  }

  async #delete(folder) {
    try {
      await ask("DELETE", `folders/${folder.id}`);
    } catch (error) {
      return this.handlers.failed(error.message);
    }
    this.folders = this.folders.filter(({ id }) => id !== folder.id);
    this.#show();
    this.#choose(folder.id === this.chosen ? "" : this.chosen);
    byId("new-folder").focus();
  }

  async #move(session, folder) {
    try {
      this.handlers.moved(await editSession(session, { folder }));
      const name = this.folders.find(({ id }) => id === folder)?.name ?? say("no_folder");
      byId("announcer").textContent = say("moved", { name });
    } catch (error) {
      this.handlers.failed(error.message);
    }
  }

  #listenForDragging(list) {
    list.addEventListener("dragstart", ({ target, dataTransfer }) => {
      const item = target.closest?.("[data-session]");
      if (item) dataTransfer.setData(DRAGGED, item.dataset.session);
    });
    const over = (event) => {
      const item = event.target.closest("li");
      if (!item || !event.dataTransfer.types.includes(DRAGGED)) return null;
      event.preventDefault();
      return item;
    };
    this.list.addEventListener("dragover", (event) => over(event)?.classList.add("over"));
    this.list.addEventListener("dragleave", ({ target, relatedTarget }) => {
      const item = target.closest("li");
      if (!item?.contains(relatedTarget)) item?.classList.remove("over");
    });
    this.list.addEventListener("drop", (event) => {
      const item = over(event);
      item?.classList.remove("over");
      if (item) this.#move(event.dataTransfer.getData(DRAGGED), item.dataset.folder);
    });
  }
}
