// What the page says about the work: a quiet status line, an error that stays, a lost connection.

import { number, say } from "./strings.js";

const WORK = {
  "model.loading": "loading",
  "context.summarising": "summarising",
  "prompt.progress": "reading",
};

export class Status {
  /** cleared: called when an error is taken off the page. */
  constructor(cleared) {
    this.cleared = cleared;
    this.line = document.getElementById("status");
    this.announcer = document.getElementById("announcer");
    this.offline = document.getElementById("offline");
    this.banner = document.getElementById("error");
    this.banner.querySelector("button.icon").addEventListener("click", () => this.clear());
    // Leaving the page closes its connection; that is no news to the person who leaves.
    addEventListener("pagehide", () => (this.leaving = true));
    addEventListener("pageshow", () => (this.leaving = false));
  }

  say(text) {
    if (this.line.textContent !== text) this.line.textContent = text;
  }

  /** What an answer waits for, if the frame is about that. */
  waiting({ type, position, done, total }) {
    if (type === "queue.position") this.say(say("queue", { n: position }));
    if (!WORK[type]) return;
    this.say(done < total ? say(WORK[type], { percent: number((100 * done) / total) }) : "");
  }

  /** For those who listen: the words that arrive are not read aloud one by one. */
  ended(status) {
    this.say("");
    this.announcer.textContent = say(status === "DONE" ? "finished" : "ended_early");
  }

  error(message) {
    this.banner.querySelector("p").textContent = message;
    this.banner.hidden = false;
  }

  clear() {
    this.banner.hidden = true;
    this.cleared();
  }

  connected(is) {
    document.documentElement.dataset.connected = is;
    this.offline.hidden = is || Boolean(this.leaving);
  }
}
