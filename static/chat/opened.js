// Who runs the site has opened this conversation: the note above it, told while the page is open.

import { sessionPage } from "./addresses.js";

export class Opened {
  /** session() is the id of the one on the page, or "". tell(text): where the person looks now. */
  constructor(session, tell) {
    this.session = session;
    this.tell = tell;
    this.missed = false; // the line was down, and nothing could be heard
  }

  heard(session) {
    if (session === this.session()) this.#look(session);
  }

  connected(is) {
    if (is && this.missed && this.session()) this.#look(this.session());
    this.missed = !is;
  }

  async #look(session) {
    const reply = await fetch(`${sessionPage(session)}opened/`).catch(() => null);
    if (!reply?.ok) return; // it is there when the page is loaded again
    const page = new DOMParser().parseFromString((await reply.json()).html, "text/html");
    const [note, old] = [page, document].map((where) => where.getElementById("opened"));
    if (!note || note.textContent === old?.textContent) return;
    old?.remove();
    document.getElementById("earlier").before(note);
    this.tell(note.querySelector("span").textContent);
  }
}
