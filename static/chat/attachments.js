// What is attached to the message that is being written: a chip for each file that the server has
// read, is reading, or has refused. They are kept with the draft.

import { deleteFile, fetchText, uploadFile } from "./file_requests.js";
import { detailOf } from "./sources.js";
import { load, store } from "./storage.js";
import { number, say } from "./strings.js";

export class Attachments {
  /**
   * form: the composer's. limits: {bytes, count, paste, accept}. handlers: changed(), model() for
   * its name, putBack(text).
   */
  constructor(form, limits, handlers) {
    this.limits = limits;
    this.handlers = handlers;
    this.list = form.querySelector("#attached");
    this.button = form.querySelector("#attach");
    this.input = form.querySelector("#file-input");
    this.template = document.getElementById("chip-template");
    this.announcer = document.getElementById("announcer");
    this.chips = [];
    this.input.accept = limits.accept;
    this.button.addEventListener("click", () => this.input.click());
    this.input.addEventListener("change", () => {
      this.add(this.input.files);
      this.input.value = "";
      form.querySelector("textarea").focus();
    });
  }

  /** Files that a message can be sent with; those that were refused are not among them. */
  get count() {
    return this.chips.filter((chip) => chip.file).length;
  }

  get isReading() {
    return this.chips.some((chip) => chip.busy);
  }

  /** Whether the chosen model reads files. */
  set usable(is) {
    this.button.hidden = !is;
  }

  get usable() {
    return !this.button.hidden;
  }

  add(files) {
    for (const file of files) this.#upload(file);
  }

  /** Text that is too long for the box. It can be put back. */
  addPasted(text) {
    this.#upload(new File([text], `${say("file_pasted")}.txt`, { type: "text/plain" }), text);
  }

  /** The files, which go with a message now. What was refused stays until it is taken away. */
  take() {
    const taken = this.chips.filter((chip) => chip.file).map((chip) => chip.file);
    for (const chip of this.chips.filter((each) => each.file)) this.#drop(chip);
    this.#changed();
    return taken;
  }

  /** Give back what could not be sent. */
  restore(files) {
    for (const file of files) this.#settle(this.#chip(file.name), file);
  }

  renameDraft(key) {
    store(this.draft, "");
    this.draft = `files:${key}`;
    this.#changed();
  }

  /** Go on with what was attached before, to the unsent text under this key. */
  useDraft(key) {
    this.draft = `files:${key}`;
    this.restore(JSON.parse(load(this.draft) || "[]"));
  }

  async #upload(file, pasted = "") {
    const chip = this.#chip(file.name);
    chip.pasted = pasted;
    const limit = number(this.limits.bytes / 1e6);
    if (this.chips.filter((each) => !each.refused).length > this.limits.count) {
      return this.#refuse(chip, say("file_too_many", { name: file.name, limit: this.limits.count }));
    }
    if (file.size > this.limits.bytes) {
      return this.#refuse(chip, say("file_too_large", { name: file.name, limit }));
    }
    chip.busy = true;
    this.#changed();
    try {
      const told = await uploadFile(file, this.handlers.model());
      chip.busy = false;
      if (!this.chips.includes(chip)) return this.#forget(told); // taken away meanwhile
      this.#settle(chip, { ...told, pasted: Boolean(pasted) });
      this.announcer.textContent = say("file_attached", { name: told.name });
    } catch (error) {
      chip.busy = false;
      this.#refuse(chip, error.message);
    }
  }

  #chip(name) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const chip = { element, file: null, busy: false, refused: false, pasted: "" };
    element.querySelector(".name").textContent = name;
    element.title = name;
    element.querySelector(".detail").textContent = say("file_reading");
    const remove = element.querySelector(".remove");
    remove.querySelector(".sr").textContent = say("file_remove", { name });
    remove.addEventListener("click", () => this.#remove(chip));
    const back = element.querySelector(".put-back");
    back.title = say("file_put_back", { name });
    back.querySelector(".sr").textContent = back.title;
    back.addEventListener("click", () => this.#putBack(chip));
    this.chips.push(chip);
    this.list.append(element);
    return chip;
  }

  /** The server has read it. The same file twice is one. */
  #settle(chip, file) {
    if (this.chips.some((other) => other.file?.id === file.id)) {
      this.#drop(chip);
    } else {
      chip.file = file;
      chip.element.querySelector(".name").textContent = file.name;
      chip.element.querySelector(".detail").textContent = detailOf(file);
      chip.element.querySelector(".put-back").hidden = !file.pasted;
      chip.element.classList.add("read");
    }
    this.#changed();
  }

  #refuse(chip, message) {
    chip.refused = true;
    const detail = chip.element.querySelector(".detail");
    detail.setAttribute("role", "alert");
    detail.textContent = message;
    chip.element.classList.add("refused");
    chip.element.querySelector(".put-back").hidden = !chip.pasted;
    this.#changed();
  }

  #remove(chip) {
    const next = chip.element.nextElementSibling ?? chip.element.previousElementSibling;
    (next?.querySelector(".remove") ?? this.button).focus();
    this.#drop(chip);
    if (chip.file) {
      this.announcer.textContent = say("file_removed", { name: chip.file.name });
      this.#forget(chip.file);
    }
    this.#changed();
  }

  async #putBack(chip) {
    try {
      const text = chip.pasted || (await fetchText(chip.file.id)).text;
      this.#drop(chip);
      if (chip.file) this.#forget(chip.file);
      this.handlers.putBack(text);
      this.#changed();
    } catch (error) {
      chip.element.querySelector(".detail").textContent = error.message;
    }
  }

  #forget(file) {
    if (!file.in_use) deleteFile(file.id);
  }

  #drop(chip) {
    this.chips = this.chips.filter((each) => each !== chip);
    chip.element.remove();
  }

  #changed() {
    this.list.hidden = !this.chips.length;
    const files = this.chips.filter((chip) => chip.file).map((chip) => chip.file);
    store(this.draft, files.length ? JSON.stringify(files) : "");
    this.handlers.changed();
  }
}
