// The conversation on the page: server frames are applied here, and nowhere else.

import { showRating } from "./feedback.js";
import { Message } from "./message.js";

export class Conversation {
  /** root: the #conversation element. state: the page's JSON about its messages. */
  constructor(root, state) {
    this.template = document.getElementById("message-template");
    this.adopt(root, state);
  }

  /** Take over a conversation that the server rendered. */
  adopt(root, { messages, running }) {
    this.root = root;
    this.running = running; // the id of the answer being written, in whichever branch
    for (const record of messages) this.#adopt(record);
  }

  /** Put messages that the server rendered in front of the first one. */
  prepend(html, records) {
    const rendered = document.createElement("template");
    rendered.innerHTML = html;
    this.root.prepend(rendered.content);
    for (const record of records) this.#adopt(record);
  }

  #adopt(record) {
    const element = this.#element(record.id);
    const message = new Message(element, { text: record.text, plain: this.#plain(record.role) });
    message.parentId = record.parent_id;
    message.versions = record.versions;
    message.model = record.model;
    if (record.files.length) message.files = record.files;
    if (record.passages.length) message.passages = record.passages;
    if (record.role !== "assistant") return;
    message.end(record);
    showRating(message.element, record);
  }

  get story() {
    return this.root.dataset.kind === "completion";
  }

  get isEmpty() {
    return this.root.childElementCount === 0;
  }

  /** The id of the first message that is here; there may be earlier ones. */
  get start() {
    return this.root.querySelector(".message:not(.pending)")?.dataset.messageId;
  }

  /** The id that the next message follows, or null in a new session. */
  get lastId() {
    const elements = this.root.querySelectorAll('.message:not(.pending)[data-role="assistant"]');
    return elements.length ? elements[elements.length - 1].dataset.messageId : null;
  }

  /** The id of the message at the end of what is shown. */
  get end() {
    return [...this.root.querySelectorAll(".message:not(.pending)")].at(-1)?.dataset.messageId;
  }

  /** The id of the message that `message` follows, or null for the first. */
  parentOf(message) {
    return message.element.previousElementSibling?.dataset.messageId ?? message.parentId ?? null;
  }

  find(id) {
    return this.#element(id)?.message;
  }

  /** Show what the person wrote before the server has answered. */
  addPending(clientId, text, files) {
    const message = this.#append("user", text);
    if (files.length) message.files = files;
    message.element.classList.add("pending");
    message.element.dataset.clientId = clientId;
    message.content.textContent = text;
  }

  /** Take back a message that the server refused. Returns its text and files. */
  withdraw(clientId) {
    const element = this.#pending(clientId);
    element?.remove();
    return { text: element?.message.text ?? "", files: element?.message.files ?? [] };
  }

  apply(frame) {
    switch (frame.type) {
      case "turn.started":
        return this.#started(frame);
      case "message.delta":
        return this.find(frame.message_id)?.write(frame.offset, frame.text, frame.blocks);
      case "message.end":
        return this.#ended(frame);
    }
  }

  #started({ client_id, user_message, message, continued }) {
    this.running = message.id;
    const pending = this.#pending(client_id)?.message;
    if (user_message && !this.find(user_message.id)) {
      const versions = this.#follows(user_message);
      if (!versions) return;
      const shown = pending ?? this.#append("user", user_message.text);
      this.root.append(shown.element);
      shown.id = user_message.id;
      shown.versions = versions;
      if (user_message.files) shown.files = user_message.files;
      if (!pending) shown.content.textContent = user_message.text;
    } else if (user_message) pending?.element.remove();
    const known = this.find(message.id);
    // Gone on with where nobody looks: it is shown when somebody goes there.
    const versions = known?.versions ?? (continued ? null : this.#follows(message));
    if (!versions) return;
    const answer = known ?? this.#append("assistant", "");
    if (!known && message.text) answer.write(0, message.text);
    answer.id = message.id;
    answer.model = message.model;
    answer.versions = versions;
    if (message.passages) answer.passages = message.passages;
    answer.status = "RUNNING";
  }

  /**
   * Make room after the parent of a new message: what stood there is another branch from now on.
   * Returns the versions in the new one's place, or null if the parent is not shown here.
   */
  #follows({ id, parent_id }) {
    const parent = parent_id && this.#element(parent_id);
    if (parent_id && !parent) {
      this.onMismatch();
      return null;
    }
    const settled = [...this.root.querySelectorAll(".message:not(.pending)")];
    const rest = settled.slice(parent ? settled.indexOf(parent) + 1 : 0);
    const versions = rest.length ? rest[0].message.versions : [];
    for (const element of rest) element.remove();
    return [...versions, id];
  }

  #ended(frame) {
    this.running = null;
    const message = this.find(frame.message_id);
    if (!message) return;
    if (!message.plain) message.replaceBlocks(frame.blocks);
    message.end(frame);
    if (message.characters !== frame.length) this.onMismatch();
  }

  #append(role, text) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    element.classList.add(role);
    element.dataset.role = role;
    element.querySelector("h2").textContent = this.template.dataset[role];
    this.root.append(element);
    return new Message(element, { text, plain: this.#plain(role) });
  }

  #plain(role) {
    return role === "user" || this.story;
  }

  #element(id) {
    return this.root.querySelector(`[data-message-id="${CSS.escape(id)}"]`);
  }

  #pending(clientId) {
    return clientId && this.root.querySelector(`[data-client-id="${CSS.escape(clientId)}"]`);
  }
}
