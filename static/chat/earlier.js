// A long conversation begins with its newest messages; those before them come when the reader
// scrolls up to them.

import { sessionPage } from "./addresses.js";
import { number, say } from "./strings.js";

const AHEAD = "1000px 0px 0px"; // so far above what is seen they are asked for

export class Earlier {
  /** box: the scrolling element. failed(message): for the person. came(): some are there now. */
  constructor(box, conversation, { failed, came }) {
    Object.assign(this, { box, conversation, failed, came });
    this.button = document.getElementById("earlier");
    this.button.addEventListener("click", () => this.load());
    this.near = new IntersectionObserver(
      (seen) => seen.at(-1).isIntersecting && this.load(),
      { root: box, rootMargin: AHEAD },
    );
    this.near.observe(this.button);
  }

  /** So many messages are in front of the first one here. */
  show(before) {
    this.button.hidden = !before;
    this.button.querySelector("span").textContent = number(before);
    // An observer tells of changes only, and the button may still be near.
    this.near.unobserve(this.button);
    this.near.observe(this.button);
  }

  /** One page of them. Resolves to whether it came. */
  load() {
    if (this.button.hidden) return Promise.resolve(false);
    this.loading ??= this.#load().finally(() => (this.loading = null));
    return this.loading;
  }

  /** All of them, say for printing. */
  async all() {
    while (await this.load());
  }

  async #load() {
    const { root, start } = this.conversation;
    const path = `${sessionPage(root.dataset.session)}earlier/?${new URLSearchParams({ before: start })}`;
    const reply = await fetch(path).catch(() => null);
    const page = reply?.ok ? await reply.json().catch(() => null) : null;
    if (!page) this.failed(say("not_read"));
    // Another branch may be shown by now.
    if (!page || root !== this.conversation.root || start !== this.conversation.start) return false;
    const toEnd = this.box.scrollHeight - this.box.scrollTop;
    this.conversation.prepend(page.html, page.messages);
    this.came();
    this.box.scrollTop = this.box.scrollHeight - toEnd;
    this.show(page.before);
    return true;
  }
}
