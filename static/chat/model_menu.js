// A small menu of the other models, under the button that asks for an answer from one of them.

export class ModelMenu {
  /** models: those that can answer. choose(message, model) is called with the chosen one's name. */
  constructor(models, choose) {
    this.models = models;
    this.choose = choose;
    this.menu = document.createElement("div");
    this.menu.className = "menu";
    this.menu.setAttribute("role", "menu");
    this.menu.addEventListener("keydown", (event) => this.#key(event));
    this.menu.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.menu.contains(relatedTarget) && relatedTarget !== this.button) this.close();
    });
  }

  /** button: in a message's tools. Pressed again, it closes the menu. */
  toggle(button, message) {
    const wasOpen = this.button === button && this.menu.isConnected;
    this.close();
    if (wasOpen) return;
    const others = this.models.filter(({ name }) => name !== message.model);
    this.button = button;
    this.menu.replaceChildren(...others.map((model) => this.#item(model, message)));
    this.menu.setAttribute("aria-label", button.title);
    button.after(this.menu);
    button.setAttribute("aria-expanded", "true");
    this.menu.firstElementChild.focus();
  }

  close() {
    if (!this.menu.isConnected) return;
    const button = this.button;
    const hadFocus = this.menu.contains(document.activeElement);
    this.button = null;
    this.menu.remove();
    button.setAttribute("aria-expanded", "false");
    if (hadFocus) button.focus();
  }

  #item({ name, title }, message) {
    const item = document.createElement("button");
    item.type = "button";
    item.setAttribute("role", "menuitem");
    item.textContent = title;
    item.addEventListener("click", () => {
      this.close();
      this.choose(message, name);
    });
    return item;
  }

  #key(event) {
    const items = [...this.menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const at = items.indexOf(document.activeElement) + step;
      items[(at + items.length) % items.length].focus();
    } else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
