// One setting in the panel: what is the person's and what the model's, shown, read, and put right.

import { number, say } from "./strings.js";

const NONE = new Set(["system_prompt", "seed", "max_tokens", "stop"]); // may have no default

export class SettingField {
  /** element: a .setting. changed: called when the person changes it. */
  constructor(element, changed) {
    this.element = element;
    this.name = element.dataset.setting;
    this.kind = element.dataset.kind;
    this.input = element.querySelector("input:not([type=radio]), textarea");
    this.whose = element.querySelector(".whose");
    this.resetButton = element.querySelector(".reset");
    this.wrong = element.querySelector(".wrong");
    this.fallback = this.kind === "choice" ? element.querySelector("input").value : "";
    element.addEventListener("input", () => {
      this.refuse("");
      this.#tell();
      changed();
    });
    this.resetButton?.addEventListener("click", () => {
      this.value = undefined;
      this.input.focus();
      changed();
    });
  }

  /** What the person chose, or undefined. What is no number stays text: the server says so. */
  get value() {
    if (this.kind === "choice") {
      const value = this.element.querySelector(":checked")?.value ?? this.fallback;
      return value === this.fallback ? undefined : value;
    }
    const text = this.input.value;
    if (!text.trim()) return undefined;
    if (this.kind === "text") return text;
    if (this.kind === "lines") return text.split("\n").filter(Boolean).map(unescaped);
    const value = Number(text);
    return Number.isFinite(value) && (value % 1 || Number.isSafeInteger(value)) ? value : text;
  }

  set value(value) {
    this.refuse("");
    if (this.kind === "choice") {
      this.element.querySelector(`[value="${value ?? this.fallback}"]`).checked = true;
      return;
    }
    if (value === undefined) this.input.value = "";
    else if (this.kind === "lines") this.input.value = value.map(escaped).join("\n");
    else this.input.value = String(value);
    this.#tell();
  }

  /** What holds where the person has chosen nothing. */
  setDefault(value) {
    if (this.kind === "choice") {
      const chosen = this.value;
      this.fallback = value ?? this.fallback;
      this.value = chosen;
    }
    if (!this.whose) return;
    const none = value === undefined || value === null || value.length === 0;
    if (none) this.fallback = NONE.has(this.name) ? say(`default_of_${this.name}`) : "–";
    else if (this.kind === "lines") this.fallback = value.map(escaped).join(" ");
    else this.fallback = this.kind === "number" ? number(value, 4) : String(value);
    if (this.kind === "number") this.input.placeholder = none ? "" : String(value);
    this.#tell();
  }

  /** Say what is wrong with it; "": nothing. */
  refuse(message) {
    this.wrong.textContent = message;
    this.wrong.hidden = !message;
    this.input?.setAttribute("aria-invalid", String(Boolean(message)));
  }

  focus() {
    this.element.closest("details")?.setAttribute("open", "");
    (this.input ?? this.element.querySelector(":checked")).focus();
  }

  #tell() {
    if (!this.whose) return;
    const own = this.value !== undefined;
    this.element.classList.toggle("own", own);
    this.whose.textContent = say(own ? "own" : "default_is", { value: this.fallback });
    this.resetButton.hidden = !own;
  }
}

function escaped(text) {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

function unescaped(text) {
  return text.replace(/\\([\\nt])/g, (_, mark) => ({ n: "\n", t: "\t" })[mark] ?? mark);
}
