// What was refused for the moment: says when it is tried again, and lets the person do it now.

import { number, say } from "./strings.js";

const TRIES = 3; // by itself, before it waits for the person

export class Retry {
  constructor(button) {
    this.button = button;
    this.tries = 0;
    button.addEventListener("click", () => this.#act());
  }

  /** seconds: as the server said. A little is added: not everyone may come back at once. */
  offer(seconds, action) {
    this.cancel();
    this.action = action;
    this.button.hidden = false;
    this.left = this.tries++ < TRIES ? Math.ceil(seconds * (1 + Math.random() / 2)) : Infinity;
    this.#show();
    if (this.left < Infinity) this.timer = setInterval(() => this.#tick(), 1000);
  }

  /** Forget it: the person has gone on to something else. */
  cancel() {
    clearInterval(this.timer);
    this.button.hidden = true;
    this.action = null;
  }

  succeeded() {
    this.tries = 0;
  }

  #tick() {
    this.left -= 1;
    if (this.left > 0) this.#show();
    else this.#act();
  }

  #act() {
    const action = this.action;
    this.cancel();
    action?.();
  }

  #show() {
    const waits = this.left < Infinity;
    this.button.textContent = waits ? say("retry_in", { n: number(this.left) }) : say("retry");
    this.button.title = say("retry");
  }
}
