// Settings under a name: kept, used, renamed, chosen for new sessions, deleted and brought back.

import { toggleVersions } from "./preset_versions.js";
import { rest } from "./rest.js";
import { say } from "./strings.js";

const ask = (method, path, body) => rest(method, path, { body, failed: say("presets_not_listed") });

export class Presets {
  /**
   * handlers: current() returns the settings on the panel, use(settings) puts others there,
   * refused(error) says what is wrong with one of them and returns whether it is one.
   */
  constructor(root, handlers) {
    this.handlers = handlers;
    this.rows = root.querySelector("ul");
    this.none = root.querySelector(".none");
    this.form = root.querySelector("form");
    this.name = root.querySelector("#preset-name");
    this.wrong = root.querySelector(".wrong");
    this.said = root.querySelector(".said span");
    this.undoButton = root.querySelector("[data-act=undo]");
    this.replaceButton = root.querySelector("[data-act=replace]");
    this.template = document.getElementById("preset-template").content.firstElementChild;
    this.presets = [];
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#do(() => this.#keep());
    });
    this.name.addEventListener("input", () => this.#refuse(""));
    this.replaceButton.addEventListener("click", () => this.#do(() => this.#replace()));
    this.undoButton.addEventListener("click", () => this.#do(() => this.#undo()));
    this.rows.addEventListener("click", ({ target }) => this.#press(target.closest("button")));
  }

  list() {
    this.#say("");
    return this.#do(() => this.#read());
  }

  #press(button) {
    const preset = this.presets.find(({ id }) => id === button?.closest("li").dataset.preset);
    if (!preset || button.closest("ol")) return;
    if (button.matches(".use")) {
      this.handlers.use(preset.settings);
      this.#say(say("preset_used", preset));
    }
    if (button.matches(".star")) this.#do(() => this.#star(preset));
    if (button.matches(".history")) this.#do(() => this.#versions(button.closest("li"), preset));
    if (button.matches(".rename")) this.#rename(button.closest("li"), preset);
    if (button.matches(".delete")) this.#do(() => this.#delete(preset));
  }

  async #do(work) {
    this.#refuse("");
    try {
      await work();
    } catch (error) {
      if (this.handlers.refused(error)) return;
      this.#refuse(error.message, error.code === "preset_name_taken");
    }
  }

  async #read() {
    this.presets = await ask("GET", "presets");
    this.#show();
  }

  async #keep() {
    const name = this.name.value;
    const preset = await ask("POST", "presets", { name, settings: this.handlers.current() });
    await this.#kept(preset);
  }

  async #replace() {
    const name = this.name.value.trim().replace(/\s+/g, " ");
    const there = this.presets.find((preset) => preset.name === name);
    if (!there) return this.#read();
    const settings = this.handlers.current();
    await this.#kept(await ask("PATCH", `presets/${there.id}`, { settings }));
  }

  async #kept(preset) {
    this.name.value = "";
    await this.#read();
    this.#say(say("preset_saved", preset));
    this.name.focus();
  }

  async #star(preset) {
    const is_default = !preset.is_default;
    await ask("PATCH", `presets/${preset.id}`, { is_default });
    await this.#read();
    this.#say(is_default ? say("preset_default", preset) : say("preset_no_default"));
    this.#focus(preset.id, ".star");
  }

  #versions(item, preset) {
    const address = `presets/${preset.id}/versions`;
    return toggleVersions(item, {
      read: () => ask("GET", address),
      use: ({ settings }) => {
        this.handlers.use(settings);
        this.#say(say("preset_used", preset));
      },
      restore: ({ number }) => this.#do(async () => {
        const { settings } = await ask("POST", `${address}/${number}/restore`, {});
        await this.#read();
        this.handlers.use(settings);
        this.#say(say("preset_restored", { name: preset.name, n: number }));
        this.#focus(preset.id, ".history");
      }),
    });
  }

  async #delete(preset) {
    await ask("DELETE", `presets/${preset.id}`);
    await this.#read();
    this.deleted = preset;
    this.#say(say("preset_deleted", preset), true);
    this.undoButton.focus();
  }

  async #undo() {
    const { name, settings, is_default } = this.deleted;
    const { id } = await ask("POST", "presets", { name, settings });
    if (is_default) await ask("PATCH", `presets/${id}`, { is_default });
    await this.#read();
    this.#say("");
    this.#focus(id, ".use");
  }

  /** The name becomes a field: Enter and leaving it save, Escape does not. */
  #rename(item, preset) {
    const field = Object.assign(document.createElement("input"), { value: preset.name });
    field.maxLength = 80;
    field.setAttribute("aria-label", say("preset_name"));
    item.querySelector(".use").hidden = true;
    item.prepend(field);
    field.focus();
    field.select();
    const close = (save) => {
      if (field.closing) return;
      field.closing = true;
      const name = field.value.trim();
      const again = () => {
        this.#show();
        this.#focus(preset.id, ".rename");
      };
      if (!save || !name || name === preset.name) return again();
      this.#do(async () => {
        await ask("PATCH", `presets/${preset.id}`, { name });
        await this.#read();
      }).then(again);
    };
    field.addEventListener("blur", () => close(true));
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault(); // Escape would close the panel
      event.stopPropagation();
      close(event.key === "Enter");
    });
  }

  #show() {
    this.rows.replaceChildren(...this.presets.map((preset) => this.#row(preset)));
    this.none.hidden = this.presets.length > 0;
  }

  #row({ id, name, is_default }) {
    const item = this.template.cloneNode(true);
    item.dataset.preset = id;
    item.querySelector(".use").textContent = name;
    item.querySelector(".star").setAttribute("aria-pressed", String(is_default));
    for (const act of ["use", "star", "history", "rename", "delete"]) {
      const button = item.querySelector(`.${act}`);
      button.title = say(`preset_${act}`, { name });
      button.setAttribute("aria-label", button.title);
    }
    return item;
  }

  #focus(id, button) {
    this.rows.querySelector(`[data-preset="${id}"] ${button}`)?.focus();
  }

  #refuse(message, taken = false) {
    this.wrong.textContent = message;
    this.wrong.hidden = !message;
    this.replaceButton.hidden = !taken || !this.name.value;
  }

  #say(text, undo = false) {
    this.said.textContent = text;
    this.undoButton.hidden = !undo;
  }
}
