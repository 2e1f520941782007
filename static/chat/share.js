// Links to this conversation for others: made in a dialog, which lists and takes back those there are.

import { ask } from "./ask.js";
import { copy } from "./clipboard.js";
import { day, say } from "./strings.js";

const byId = (id) => document.getElementById(id);

export class Share {
  /** session(): the id of the session that is shown. */
  constructor(session) {
    this.session = session;
    this.dialog = byId("share");
    this.form = byId("share-form");
    this.made = byId("share-made");
    this.address = byId("share-address");
    this.list = byId("share-links");
    this.note = byId("share-note");
    byId("open-share").addEventListener("click", () => this.#open());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    byId("share-copy").addEventListener("click", async () => {
      await copy(this.address.value);
      this.#say(say("copied"));
    });
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#revoke(button.closest("li"));
    });
  }

  async #open() {
    this.made.hidden = true;
    this.form.hidden = false;
    this.#say("");
    this.dialog.showModal();
    await this.#try(async () => this.#show(await ask("GET", "shares")));
  }

  #make() {
    const { days, author } = this.form.elements;
    const body = { days: Number(days.value) || null, author: author.value };
    return this.#try(async () => {
      const link = await ask("POST", `sessions/${this.session()}/shares`, body);
      this.address.value = new URL(link.path, location.href).href;
      this.made.hidden = false;
      this.form.hidden = true;
      this.address.focus();
      this.address.select();
      this.#show(await ask("GET", "shares"));
    });
  }

  #revoke(item) {
    return this.#try(async () => {
      await ask("DELETE", `shares/${item.dataset.link}`);
      this.made.hidden = true;
      this.form.hidden = false;
      this.#show(await ask("GET", "shares"));
      this.#say(say("revoked"));
      this.dialog.querySelector("h2").focus();
    });
  }

  #show(links) {
    byId("share-existing").hidden = links.length === 0;
    const template = byId("share-template").content.firstElementChild;
    this.list.replaceChildren(
      ...links.map((link) => {
        const item = template.cloneNode(true);
        item.dataset.link = link.id;
        item.querySelector(".name").textContent = link.title;
        const [made, ends] = [link.created_at, link.expires_at].map((at) => at && day(new Date(at)));
        item.querySelector(".when").textContent = ends
          ? say("link_until", { made, ends })
          : say("link_always", { made });
        item.querySelector(".sr").textContent = link.title;
        return item;
      }),
    );
  }

  async #try(work) {
    this.#say("");
    try {
      await work();
    } catch (error) {
      this.#say(error.message);
    }
  }

  #say(text) {
    this.note.textContent = text;
  }
}
