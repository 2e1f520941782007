// The choice of a model in a new session, and what the page says about the chosen one.

import { unknownLanguage } from "./languages.js";
import { load, store } from "./storage.js";
import { languageNames, say } from "./strings.js";

export class Models {
  /** models: the page's list of {name, title, kind, languages, state}. fixed: the session's. */
  constructor(models, fixed, changed) {
    this.models = models;
    this.fixed = fixed;
    this.note = document.getElementById("model-note");
    this.hint = document.getElementById("hint");
    this.area = document.getElementById("text");
    this.fieldset = document.getElementById("models");
    if (this.fieldset) {
      this.#choose(load("model"));
      this.fieldset.addEventListener("change", () => {
        store("model", this.fieldset.querySelector(":checked").value);
        changed();
      });
    }
  }

  /** The model that the next message goes to. */
  get current() {
    const name = this.fixed || this.fieldset?.querySelector(":checked")?.value;
    return this.models.find((model) => model.name === name);
  }

  /** From now on the session has its model. */
  fix(name) {
    this.fixed = name;
    this.fieldset?.remove();
    this.fieldset = null;
    this.show();
  }

  show() {
    const model = this.current;
    const languages = languageNames(model?.languages ?? []);
    this.note.textContent = model ? [model.title, languages].filter(Boolean).join(" · ") : "";
    this.area.placeholder = say(model?.kind === "completion" ? "write_story" : "write_chat");
    for (const list of document.querySelectorAll(".examples")) {
      list.hidden = list.dataset.model !== model?.name;
    }
    this.warn();
  }

  /** Say so when the text is in a language that the model does not list. */
  warn() {
    const model = this.current;
    const code = model && unknownLanguage(this.area.value, model.languages);
    this.hint.textContent = code
      ? say("other_language", {
          title: model.title,
          languages: languageNames(model.languages),
          language: languageNames([code]),
        })
      : say("caution");
  }

  #choose(name) {
    const inputs = [...this.fieldset.querySelectorAll("input:enabled")];
    const input = inputs.find((each) => each.value === name) ?? inputs.find((each) => each.checked) ?? inputs[0];
    if (input) input.checked = true;
  }
}
