// The settings of the session: opened beside the conversation, saved all together, named where wrong.

import { Presets } from "./presets.js";
import { rest } from "./rest.js";
import { SettingField } from "./setting_field.js";
import { load, store } from "./storage.js";
import { number, say } from "./strings.js";

const DRAFT = "settings:new"; // of a session that has not begun

export class SettingsPanel {
  /** settings: the session's, or what a new one begins with. saved: called when they are others. */
  constructor(settings, session, models, saved) {
    this.models = models;
    this.session = session;
    this.saved = saved;
    this.settings = session ? settings : drafted() ?? settings;
    this.dialog = document.getElementById("settings");
    this.form = document.getElementById("settings-form");
    this.button = document.getElementById("open-settings");
    this.said = document.getElementById("settings-said");
    this.fields = [...this.dialog.querySelectorAll(".setting")].map(
      (element) => new SettingField(element, () => (this.dirty = true)),
    );
    this.presets = new Presets(document.getElementById("presets"), {
      current: () => this.#values(),
      use: (values) => this.#use(values),
      refused: (error) => this.#refused(error),
    });
    this.button.addEventListener("click", () => this.open());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#save();
    });
    this.dialog.addEventListener("click", (event) => this.#act(event));
    this.#mark();
  }

  /** What a session that has not begun is to have; nothing for one that has. */
  get forNew() {
    return this.session ? {} : { settings: this.settings };
  }

  /** The session has begun, with what was chosen for it. */
  begun(session) {
    if (this.session) return;
    this.session = session;
    store(DRAFT, "");
  }

  async open() {
    if (this.dialog.open) return;
    if (!this.dirty) this.#fill(this.settings);
    this.said.textContent = this.dirty ? say("settings_kept") : "";
    this.#showDefaults();
    this.dialog.showModal();
    this.presets.list();
    if (!this.session) return;
    const told = await this.#ask("GET", `sessions/${this.session}/settings`).catch(() => null);
    if (!told || this.dirty) return; // another page may have changed them
    this.settings = told.settings;
    this.#fill(told.settings);
    this.#mark();
  }

  #act(event) {
    if (event.target === this.dialog) return this.dialog.close(); // beside it
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (act === "close") this.dialog.close();
    if (act === "reset") this.#use({});
    if (act === "cancel") {
      this.dirty = false;
      this.dialog.close();
    }
  }

  #use(values) {
    this.#fill(values);
    this.dirty = true;
  }

  #fill(values) {
    for (const field of this.fields) field.value = values[field.name];
    const more = this.dialog.querySelector("details");
    more.open ||= Boolean(more.querySelector(".own")); // what a person chose is seen
    this.said.textContent = "";
  }

  #values() {
    const chosen = this.fields.map(({ name, value }) => [name, value]);
    return Object.fromEntries(chosen.filter(([, value]) => value !== undefined));
  }

  #showDefaults() {
    const { current } = this.models;
    const isText = current?.kind === "completion";
    for (const field of this.fields) field.setDefault(current?.defaults?.[field.name]);
    for (const each of this.dialog.querySelectorAll(".chat-only")) each.hidden = isText;
    this.dialog.querySelector(".completion-only").hidden = !isText;
  }

  async #save() {
    const settings = this.#values();
    const [method, path] = this.session
      ? ["PUT", `sessions/${this.session}/settings`]
      : ["POST", "settings/check"];
    try {
      this.settings = (await this.#ask(method, path, { settings })).settings;
    } catch (error) {
      if (!this.#refused(error)) this.said.textContent = error.message;
      return;
    }
    if (!this.session) store(DRAFT, JSON.stringify(this.settings));
    this.dirty = false;
    this.#mark();
    this.dialog.close();
    document.getElementById("announcer").textContent = say("settings_saved");
    this.saved();
  }

  /** Returns whether the error is about one of the fields, which then says so. */
  #refused({ message, field: name }) {
    const field = this.fields.find((each) => each.name === name);
    field?.refuse(message);
    field?.focus();
    return Boolean(field);
  }

  #ask(method, path, body) {
    return rest(method, path, { body, failed: say("settings_not_saved") });
  }

  /** The button says whether anything here is the person's own. */
  #mark() {
    const n = Object.keys(this.settings).length;
    this.button.toggleAttribute("data-own", n > 0);
    this.button.querySelector(".own").textContent = n ? say("settings_own", { n: number(n) }) : "";
  }
}

function drafted() {
  try {
    return JSON.parse(load(DRAFT) || "null");
  } catch {
    return null;
  }
}
