// Other versions of a message: edited, answered again, or looked at. Here they are asked for; that
// they are there comes with the frames, as to every other page.

import { Editor } from "./editor.js";
import { ModelMenu } from "./model_menu.js";
import { say } from "./strings.js";
import { listenForVersions } from "./versions.js";

export class Branching {
  /** box: the scrolling element, which outlives its conversations. The rest: rooms of the page. */
  constructor(box, { conversation, socket, status, composer, models, retry, scroll }) {
    Object.assign(this, { box, conversation, socket, status, composer, models, retry, scroll });
    const ready = models.models.filter((model) => model.ready);
    this.editor = new Editor((...sent) => this.#edit(...sent));
    this.menu = new ModelMenu(ready, (message, model) => this.#regenerate(message, model));
    this.stay = listenForVersions(box, (id) => this.#show(id));
    box.addEventListener("click", (event) => this.#press(event.target.closest(".tool")));
  }

  regenerateLast() {
    const message = this.conversation.find(this.conversation.lastId);
    if (message) this.#regenerate(message, message.model);
  }

  /** A turn has begun. What was being edited where it now stands goes to the composer. */
  started(clientId) {
    const lost = this.editor.answered(clientId) ? "" : this.editor.orphaned();
    if (lost) this.composer.restore(lost);
  }

  /** Returns whether what was refused came from here. Its text stays in the editor. */
  refused({ client_id, retry_after_s }) {
    const ours = this.editor.answered(client_id);
    if (ours && retry_after_s) this.retry.offer(retry_after_s, () => this.editor.send());
    return ours;
  }

  /** Do `exchange`, which puts another conversation into the box, without losing the place. */
  across(exchange) {
    const reopen = this.editor.keep();
    exchange();
    reopen((id) => this.conversation.find(id), (text) => this.composer.restore(text));
    if (this.stay(this.box)) this.scroll.stay();
  }

  #press(button) {
    const message = button?.closest(".message").message;
    if (!message) return;
    if (button.matches(".edit")) this.editor.open(message);
    if (button.matches(".regenerate")) {
      this.#regenerate(message, message.model || this.models.current.name);
    }
    if (button.matches(".other-model")) this.menu.toggle(button, message);
  }

  /** Another answer that begins as this one up to token `index`, and has `token_id` there. */
  fromToken({ id }, index, token_id) {
    if (this.#isBusy()) return;
    const session_id = this.socket.session;
    this.socket.send("turn.branch_token", { session_id, message_id: id, index, token_id });
  }

  #edit(message, text, client_id) {
    if (this.#isBusy()) return false;
    const session_id = this.socket.session;
    if (message.element.dataset.role === "assistant") {
      this.socket.send("turn.rewrite", { client_id, session_id, message_id: message.id, text });
      return true;
    }
    this.socket.send("turn.submit", {
      client_id,
      session_id,
      text,
      model: this.models.current.name,
      parent_id: this.conversation.parentOf(message),
      files: message.files.map((file) => file.id),
    });
    return true;
  }

  #regenerate({ id }, model) {
    if (this.#isBusy()) return;
    const session_id = this.socket.session;
    this.socket.send("turn.regenerate", { session_id, message_id: id, model });
  }

  /** Returns whether it was asked for: without a connection it cannot be. */
  #show(message_id) {
    return this.socket.send("branch.show", { session_id: this.socket.session, message_id });
  }

  /** One answer at a time; says so where it is in the way. */
  #isBusy() {
    const is = Boolean(this.conversation.running);
    if (is) this.status.error(say("busy"));
    else this.status.clear();
    return is;
  }
}
