// Sessions out of a file: sent as it is, with how far the server is, and what came of it.

import { api } from "./addresses.js";
import { number, say } from "./strings.js";

const byId = (id) => document.getElementById(id);

export class Import {
  /** taken(): called when it is closed after something was taken. */
  constructor(taken) {
    this.dialog = byId("import");
    this.field = byId("import-file");
    this.bar = byId("import-progress");
    this.note = byId("import-note");
    this.named = byId("import-named");
    byId("open-import").addEventListener("click", () => {
      this.#clear();
      this.dialog.showModal();
    });
    this.field.addEventListener("change", () => this.field.files[0] && this.#send(this.field.files[0]));
    this.dialog.addEventListener("close", () => this.taken && taken());
    this.dialog.addEventListener("cancel", (event) => this.busy && event.preventDefault());
  }

  #clear() {
    this.taken = 0;
    this.field.value = "";
    this.note.textContent = "";
    this.named.replaceChildren();
    byId("import-skipped").hidden = true;
    this.bar.hidden = true;
  }

  async #send(file) {
    const isZip = (await file.slice(0, 2).text()) === "PK";
    this.#clear();
    this.#busy(true);
    this.bar.hidden = false;
    this.bar.removeAttribute("value");
    try {
      const reply = await fetch(api("import"), {
        method: "POST",
        headers: {
          "Content-Type": isZip ? "application/zip" : "application/json",
          "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
        },
        body: file,
      });
      if (!reply.ok) throw new Error((await reply.json()).error.message);
      await this.#read(reply.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (error) {
      this.note.textContent = error instanceof TypeError ? say("not_done") : error.message;
    }
    this.bar.hidden = true;
    this.#busy(false);
  }

  async #read(reader) {
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const line of lines) this.#show(JSON.parse(line));
      if (done) return;
    }
  }

  #show(report) {
    this.taken = report.sessions;
    this.bar.max = report.size || 1;
    this.bar.value = report.read;
    const numbers = {
      sessions: number(report.sessions),
      messages: number(report.messages),
      left: number(report.left_out),
      skipped: number(report.skipped),
    };
    const said = [say(report.done ? "imported" : "importing", numbers)];
    if (report.left_out) said.push(say("left_out", numbers));
    if (report.error) said.push(report.error);
    this.note.textContent = said.join(" ");
    if (!report.done || !report.skipped) return;
    byId("import-skipped").hidden = false;
    byId("import-skipped-title").textContent = say("skipped", numbers);
    this.named.replaceChildren(...report.named.map(item));
  }

  #busy(is) {
    this.busy = is;
    this.field.disabled = is;
    this.dialog.querySelector("form button").disabled = is;
  }
}

function item({ number: place, title, reason }) {
  const element = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = title || say("entry", { n: number(place) });
  element.append(name, " ", reason);
  return element;
}
