// Brings the rooms of the page together; each has its own file and one purpose.

import { Branching } from "./branching.js";
import { listenForCopying } from "./clipboard.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Models } from "./models.js";
import { Retry } from "./retry.js";
import { Scroll } from "./scroll.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { Socket } from "./socket.js";
import { Status } from "./status.js";
import { say } from "./strings.js";
import { listenForTheme } from "./theme.js";
import "./usage.js";

const byId = (id) => document.getElementById(id);
const pageState = (page) => JSON.parse(page.getElementById("page-state").textContent);

const state = pageState(document);
let rewinds = 0;
const conversation = new Conversation(byId("conversation"), state);
const scroll = new Scroll(byId("scroll"), byId("newest"));
const retry = new Retry(byId("retry"));
const status = new Status(() => retry.cancel());
const models = new Models(state.models, state.session?.model, () => models.show());
const composer = new Composer(byId("composer"), state.session?.id ?? "new", {
  submit,
  changed: () => models.warn(),
});
const sidebar = new Sidebar({
  leave: (path) => location.assign(path),
  changed: (session) => session.id === socket.session && changed(session),
  failed: (message) => status.error(message),
});
const socket = new Socket({
  frame: apply,
  listed: (session) => sidebar.apply(session),
  error: refused,
  connected: (is) => status.connected(is),
});
const rooms = { conversation, socket, status, composer, models, retry, scroll };
const branching = new Branching(byId("scroll"), rooms);
conversation.onMismatch = rewind;

function submit(text) {
  const client_id = crypto.randomUUID();
  if (conversation.isEmpty) conversation.root.dataset.kind = models.current.kind;
  conversation.root.className = conversation.root.dataset.kind;
  byId("welcome").hidden = true;
  status.clear();
  conversation.addPending(client_id, text);
  scroll.toNewest();
  composer.setBusy(true, false);
  status.say(say("sending"));
  socket.send("turn.submit", {
    client_id,
    session_id: socket.session || null,
    text,
    model: models.current.name,
    parent_id: conversation.lastId,
  });
}

function stop() {
  const running = Boolean(conversation.running);
  if (running && socket.send("turn.stop", { session_id: socket.session })) {
    status.say(say("stopping"));
    composer.setBusy(true, false);
  }
  return running;
}

function apply(frame) {
  if (frame.type === "session.reset") return rewind();
  if (frame.type === "session.opened") return branchShown(frame.shown);
  if (frame.type === "branch.shown") return branchShown(frame.message_id);
  conversation.apply(frame);
  if (frame.type === "turn.started") started(frame);
  if (frame.type === "queue.position") status.say(say("queue", { n: frame.position }));
  if (frame.type === "model.loading") status.progress("loading", frame.done, frame.total);
  if (frame.type === "prompt.progress") status.progress("reading", frame.done, frame.total);
  if (frame.type === "message.delta") arrived();
  if (frame.type === "message.end") ended(frame);
  showBusy();
}

function arrived() {
  status.say("");
  retry.succeeded();
}

function ended({ status: how, message_id, error }) {
  status.ended(how);
  if (!error?.retry_after_s) return;
  status.error(error.message);
  retry.offer(error.retry_after_s, () => goOn(message_id));
}

/** end: the message at the end of what the server shows. */
function branchShown(end) {
  if (end && end !== conversation.end) rewind();
}

function goOn(message_id) {
  status.clear();
  scroll.toNewest();
  socket.send("turn.continue", { session_id: socket.session, message_id });
}

function showBusy() {
  if (Boolean(conversation.running) !== composer.busy || !composer.busy) {
    composer.setBusy(Boolean(conversation.running));
  }
}

function started(frame) {
  branching.started(frame.client_id);
  if (document.activeElement === document.body) focusComposer();
  composer.setBusy(true);
  status.say(say("thinking"));
  const { session_id, title, message } = frame;
  conversation.root.dataset.session = session_id;
  sidebar.touch(session_id, title, models.fixed || message.model);
  showTitle(title);
  if (state.session) return;
  state.session = { id: session_id, model: message.model };
  history.replaceState(null, "", `/sessions/${session_id}/`);
  models.fix(message.model);
  composer.renameDraft(session_id);
}

/** Not on a phone, where the keyboard would cover what the person came to read. */
function focusComposer() {
  if (matchMedia("(hover: hover)").matches) composer.area.focus();
}

function showTitle(title) {
  byId("title").textContent = title;
  document.title = `${title} · TinyLLM`;
}

/** The session of this page was changed in the list, here or elsewhere. */
function changed({ title, deleted }) {
  showTitle(title);
  if (deleted) status.error(say("gone"));
}

function refused(frame) {
  status.say("");
  status.error(frame.message);
  if (branching.refused(frame)) return;
  const text = conversation.withdraw(frame.client_id);
  if (text) composer.restore(text);
  if (text && frame.retry_after_s) {
    const restored = composer.text;
    // Not what was changed meanwhile: that is not finished.
    retry.offer(frame.retry_after_s, () => composer.text === restored && composer.submit());
  }
  if (conversation.isEmpty) byId("welcome").hidden = false;
  composer.setBusy(Boolean(conversation.running));
}

/** The server says that our copy cannot be right: take its page instead, and go on from there. */
async function rewind() {
  const which = ++rewinds;
  const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!reply.ok) return status.error(say("gone"));
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  if (which !== rewinds) return; // a later one knows better
  const fresh = page.getElementById("conversation");
  branching.across(() => {
    const pending = conversation.root.querySelectorAll(".pending");
    conversation.root.replaceWith(fresh);
    conversation.adopt(fresh, pageState(page));
    fresh.append(...pending);
  });
  composer.setBusy(Boolean(conversation.running));
  scroll.watch();
  socket.follow(state.session.id, Number(fresh.dataset.after));
}

composer.stopButton.addEventListener("click", stop);
byId("scroll").addEventListener("click", (event) => {
  const message = event.target.closest(".continue")?.closest(".message").message;
  if (message) goOn(message.id);
});
byId("welcome").addEventListener("click", (event) => {
  if (!event.target.matches(".examples button")) return;
  composer.text = event.target.textContent;
  composer.area.focus();
});
byId("open-help").addEventListener("click", () => byId("help").showModal());
listenForCopying(byId("scroll"));
listenForTheme(byId("theme"));
listenForShortcuts({
  newSession: () => location.assign("/"),
  find: () => sidebar.find(),
  sidebar: () => sidebar.toggle(),
  help: () => byId("help").showModal(),
  regenerate: () => branching.regenerateLast(),
  stop: () => sidebar.closeDrawer() || stop(),
});

const found = conversation.find(new URLSearchParams(location.search).get("message") ?? "");
if (found) {
  found.element.classList.add("found");
  scroll.show(found.element);
  history.replaceState(null, "", location.pathname); // another branch may be asked for from here on
}
models.show();
composer.setBusy(Boolean(conversation.running));
if (state.session) socket.follow(state.session.id, Number(conversation.root.dataset.after));
focusComposer();
