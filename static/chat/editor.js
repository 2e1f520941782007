// A message of the person opened in its place. Sending it makes another version beside it.

export class Editor {
  /** submit(message, text, clientId): send it. It stays open until the server has taken it. */
  constructor(submit) {
    this.submit = submit;
    this.template = document.getElementById("editor-template");
    this.form = null;
  }

  get isOpen() {
    return Boolean(this.form?.isConnected);
  }

  open(message, text = message.text) {
    this.close();
    this.message = message;
    this.form = this.template.content.firstElementChild.cloneNode(true);
    this.area = this.form.querySelector("textarea");
    this.area.value = text;
    this.area.addEventListener("input", () => this.#fit());
    this.form.addEventListener("keydown", (event) => this.#key(event));
    this.form.querySelector(".cancel").addEventListener("click", () => this.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    message.element.classList.add("editing");
    message.content.after(this.form);
    this.#fit();
    this.area.focus();
    this.area.setSelectionRange(text.length, text.length);
  }

  /** Back to the message as it was. */
  close() {
    if (!this.isOpen) return;
    const hadFocus = this.form.contains(document.activeElement);
    this.form.remove();
    this.message.element.classList.remove("editing");
    if (hadFocus) this.message.element.querySelector(".edit").focus();
    this.form = null;
  }

  /** Without a change there is nothing to send. */
  send() {
    const text = this.area.value;
    if ((!text.trim() && !this.message.files.length) || this.sending) return;
    if (text === this.message.text) return this.close();
    const clientId = crypto.randomUUID();
    if (!this.submit(this.message, text, clientId)) return;
    this.sending = clientId;
    this.#freeze(true);
  }

  /** The server has taken, or refused, what was sent under this name. Returns whether it was ours. */
  answered(clientId) {
    const ours = Boolean(clientId) && clientId === this.sending;
    if (ours) {
      this.sending = null;
      this.#freeze(false);
      if (!this.isOpen) this.form = null; // its message made way for the new version
    }
    return ours;
  }

  /** The changed text of an editor that went away with its message, or "". */
  orphaned() {
    const gone = this.form && !this.form.isConnected && this.area.value !== this.message.text;
    const text = gone ? this.area.value : "";
    if (this.form && !this.form.isConnected) this.form = null;
    return text;
  }

  /** What is being written, so that it outlives the page's copy of the conversation. */
  keep() {
    if (!this.isOpen) return () => {};
    const { message, sending } = this;
    const text = this.area.value;
    this.close();
    return (find, giveBack) => {
      const again = find(message.id);
      if (again) this.open(again, text);
      else if (text !== message.text && !sending) giveBack(text);
      if (again && sending) this.#freeze(true);
    };
  }

  #freeze(is) {
    for (const field of this.form?.querySelectorAll("textarea, .button") ?? []) field.disabled = is;
  }

  #fit() {
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight}px`;
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.close();
    } else if (event.key === "Enter" && event.target === this.area && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.send();
    }
  }
}
