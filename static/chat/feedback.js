// Rating an answer: a thumb counts at once, the reason can follow. The pressed thumb opens it again.

import { ask } from "./ask.js";
import { say } from "./strings.js";

/** Show below `element` how its answer was rated: 1, -1 or 0. */
export function showRating(element, { rating = 0, comment = "" }) {
  Object.assign(element.dataset, { rating, comment });
  for (const button of element.querySelectorAll(".rate")) {
    const pressed = Number(button.dataset.value) === rating;
    button.setAttribute("aria-pressed", String(pressed));
    button.title = pressed && comment ? `${button.dataset.title}: ${comment}` : button.dataset.title;
  }
}

export class Feedback {
  /** box: the scrolling element. session(): its id. show(element) scrolls there; failed(message). */
  constructor(box, session, { show, failed }) {
    Object.assign(this, { session, show, failed });
    this.form = document.getElementById("reason-template").content.firstElementChild.cloneNode(true);
    this.area = this.form.querySelector("textarea");
    box.addEventListener("click", (event) => {
      const button = event.target.closest(".rate");
      if (button) this.#press(button);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save(this.area.value.trim());
    });
    this.form.addEventListener("click", ({ target }) => {
      if (target.closest(".cancel")) this.#close();
      if (target.closest(".withdraw")) this.#withdraw();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") this.#close();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  async #press(button) {
    const element = button.closest(".message");
    const value = Number(button.dataset.value);
    const wasOpen = this.form.isConnected && this.button === button;
    this.#close();
    if (wasOpen) return;
    this.button = button;
    this.element = element;
    const isNew = Number(element.dataset.rating) !== value;
    if (isNew && !(await this.#rate(value, ""))) return;
    this.area.value = element.dataset.comment;
    element.querySelector(".below").append(this.form);
    this.show(this.form);
    this.area.focus({ preventScroll: true });
  }

  async #save(comment) {
    if (await this.#rate(Number(this.element.dataset.rating), comment)) this.#close();
  }

  /** Returns whether the server has it. What was typed stays where it is otherwise. */
  async #rate(value, comment) {
    const element = this.element;
    try {
      const told = await ask("PUT", this.#path(element), { value, comment });
      showRating(element, { rating: told.value, comment: told.comment });
    } catch (error) {
      this.failed(error.message);
      return false;
    }
    document.getElementById("announcer").textContent = say("rated");
    return true;
  }

  async #withdraw() {
    const element = this.element;
    try {
      await ask("DELETE", this.#path(element));
    } catch (error) {
      return this.failed(error.message);
    }
    showRating(element, {});
    this.#close();
  }

  #path(element) {
    return `sessions/${this.session()}/messages/${element.dataset.messageId}/rating`;
  }

  #close() {
    if (!this.form.isConnected) return;
    const hadFocus = this.form.contains(document.activeElement);
    this.form.remove();
    if (hadFocus) this.button.focus();
  }
}
