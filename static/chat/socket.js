// The line to the server: connects, connects again, says where it left off, and drops repeats.

import { socketAddress } from "./addresses.js";

const SIGNED_OUT = 4401; // see chat/consumers.py
const VERSION = 1;
const FIRST_WAIT = 250; // ms; doubles with each failure, up to LONGEST_WAIT
const LONGEST_WAIT = 8000;
// They carry the number of the event before them: they are news each time, and never logged.
const UNNUMBERED = new Set([
  "queue.position",
  "model.loading",
  "context.summarising",
  "prompt.progress",
  "branch.shown",
]);

export class Socket {
  /**
   * handlers: frame(frame) for each new frame of the followed session, listed(session) for each
   * session whose place in the list changed, inspected(session) for each that somebody else may
   * read now, counted(frame), error(frame), and connected(boolean).
   * `follow` says which session, from which event on.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.session = "";
    this.seq = 0;
    this.unconfirmed = new Map(); // client id -> turn.submit, sent again after a lost connection
    this.failures = 0;
    this.ready = false;
    this.opening = false; // asked to read from `seq` on: until the answer, frames are of before
    addEventListener("online", () => this.#again());
    addEventListener("pageshow", (event) => event.persisted && this.#again());
    this.#connect();
  }

  follow(session, seq) {
    this.session = session;
    this.seq = seq;
    if (this.ready && session) this.#open();
  }

  /** True if the frame went out; a turn.submit goes out as soon as there is a connection. */
  send(type, fields) {
    if (type === "turn.submit") this.unconfirmed.set(fields.client_id, fields);
    if (this.ready) this.#write(type, fields);
    return this.ready;
  }

  #connect() {
    const line = new WebSocket(socketAddress());
    this.line = line;
    line.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    line.onclose = ({ code }) => {
      if (this.line !== line) return;
      if (code === SIGNED_OUT) return location.reload(); // the server asks to sign in; drafts are kept
      this.ready = false;
      this.handlers.connected(false);
      // Jitter: after a restart, a thousand pages must not come back in the same moment.
      const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.failures++);
      this.timer = setTimeout(() => this.#again(), wait * (0.5 + Math.random() / 2));
    };
  }

  #again() {
    if (this.line.readyState < WebSocket.CLOSING) return;
    clearTimeout(this.timer);
    this.#connect();
  }

  #write(type, fields) {
    this.line.send(JSON.stringify({ v: VERSION, type, ...fields }));
  }

  #open() {
    this.opening = true;
    this.#write("session.open", { session_id: this.session, after: this.seq });
  }

  #receive(frame) {
    if (frame.v !== VERSION) return;
    if (frame.type === "ready") {
      this.ready = true;
      this.failures = 0;
      if (this.session) this.#open();
      for (const fields of this.unconfirmed.values()) this.#write("turn.submit", fields);
      this.handlers.connected(true);
    } else if (frame.type === "sessions.changed") {
      this.handlers.listed(frame.session);
    } else if (frame.type === "session.inspected") {
      this.handlers.inspected(frame.session_id);
    } else if (frame.type === "context.counted") {
      this.handlers.counted(frame);
    } else if (frame.type === "error") {
      this.unconfirmed.delete(frame.client_id);
      this.handlers.error(frame);
    } else {
      this.#follow(frame);
    }
  }

  #follow(frame) {
    if (frame.type === "turn.started" && this.unconfirmed.delete(frame.client_id)) {
      this.session ||= frame.session_id;
    }
    if (frame.session_id !== this.session) return;
    if (frame.type === "session.opened") this.opening = false;
    const numbered = !UNNUMBERED.has(frame.type) && !frame.type.startsWith("session.");
    if (numbered && (this.opening || frame.seq <= this.seq)) return;
    if (numbered) this.seq = frame.seq;
    this.handlers.frame(frame);
  }
}
