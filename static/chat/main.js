// Brings the rooms of the page together; each has its own file and one purpose.

import { home, leave, sessionPage } from "./addresses.js";
import { Attachments } from "./attachments.js";
import { Branching } from "./branching.js";
import { listenForCopying } from "./clipboard.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { listenForFiles } from "./dropping.js";
import { Earlier } from "./earlier.js";
import { listenForExamples } from "./examples.js";
import { Feedback } from "./feedback.js";
import { listenForForking } from "./fork.js";
import { Gauge } from "./gauge.js";
import { Glass } from "./glass.js";
import { Import } from "./import.js";
import { MemoryLine } from "./memory_line.js";
import { Models } from "./models.js";
import { Opened } from "./opened.js";
import { Prompts } from "./prompts.js";
import { Retry } from "./retry.js";
import { Scroll } from "./scroll.js";
import { SettingsPanel } from "./settings_panel.js";
import { Share } from "./share.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { Socket } from "./socket.js";
import { listenForSources } from "./sources.js";
import { Status } from "./status.js";
import { say } from "./strings.js";
import { Temporary } from "./temporary.js";
import { listenForTheme } from "./theme.js";
import "./usage.js";
import { listenForDictation, listenForReading } from "./voice.js";

const byId = (id) => document.getElementById(id);
const pageState = (page) => JSON.parse(page.getElementById("page-state").textContent);

const state = pageState(document);
let rewinds = 0;
const conversation = new Conversation(byId("conversation"), state);
const memory = new MemoryLine(conversation);
const scroll = new Scroll(byId("scroll"), byId("newest"));
const retry = new Retry(byId("retry"));
const status = new Status(() => retry.cancel());
const failed = (message) => status.error(message);
const models = new Models(state.models, state.session?.model, modelChosen);
const settings = new SettingsPanel(state.settings, state.session?.id, models, count);
const gauge = new Gauge(
  (fields) => socket.send("context.count", { ...place(), ...fields, ...settings.forNew }),
  (frame) => memory.told(frame),
);
const attachments = new Attachments(byId("composer"), state.files, {
  changed: () => composer.refresh(),
  model: () => models.current.name,
  putBack: (text) => composer.insert(text),
});
const composer = new Composer(byId("composer"), state.session?.id ?? "new", {
  submit,
  changed: (text) => {
    models.warn();
    gauge.typing(text);
  },
  canSend: (text) => !attachments.isReading && Boolean(text.trim() || attachments.count),
});
const temporary = new Temporary((on) => {
  composer.renameDraft(on ? "" : "new");
  offerFiles();
});
const sidebar = new Sidebar({
  leave,
  changed: (session) => session.id === socket.session && changed(session),
  failed,
});
const opened = new Opened(() => (temporary.on ? "" : socket.session), failed);
const socket = new Socket({
  frame: apply,
  listed: (session) => sidebar.apply(session),
  error: refused,
  inspected: (session) => opened.heard(session),
  counted: (frame) => gauge.apply(frame),
  connected: (is) => {
    status.connected(is);
    opened.connected(is);
    if (is) count();
  },
});
const rooms = { conversation, socket, status, composer, models, retry, scroll };
const earlier = new Earlier(byId("scroll"), conversation, { failed, came: () => memory.show() });
const branching = new Branching(byId("scroll"), rooms);
conversation.onMismatch = rewind;
new Glass(byId("scroll"), status, (...choice) => branching.fromToken(...choice));

function submit(text) {
  const client_id = crypto.randomUUID();
  if (conversation.isEmpty) conversation.root.dataset.kind = models.current.kind;
  conversation.root.className = conversation.root.dataset.kind;
  byId("welcome").hidden = true;
  status.clear();
  temporary.begin();
  const files = attachments.take();
  conversation.addPending(client_id, text, files);
  scroll.toNewest();
  composer.setBusy(true, false);
  status.say(say("sending"));
  socket.send("turn.submit", {
    client_id,
    session_id: socket.session || null,
    text,
    model: models.current.name,
    parent_id: conversation.lastId,
    ...settings.forNew,
    files: files.map((file) => file.id),
    temporary: temporary.on,
  });
}

/** Where the next message goes. */
function place() {
  return { session_id: socket.session || null, model: models.current?.name ?? "" };
}

function count() {
  if (models.current && !conversation.running) gauge.count(composer.text);
}

/** Where they are read: a file that is kept has no place in a session that is not. */
function offerFiles() {
  attachments.usable = models.current?.kind !== "completion" && !temporary.on;
}

function modelChosen() {
  models.show();
  offerFiles();
  count();
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
  status.waiting(frame);
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
  count();
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
  if (document.activeElement === document.body) composer.focus();
  composer.setBusy(true);
  status.say(say("thinking"));
  const { session_id, title, message } = frame;
  conversation.root.dataset.session = session_id;
  if (!temporary.on) sidebar.touch(session_id, title, models.fixed || message.model);
  showTitle(title);
  settings.begun(session_id);
  if (state.session) return;
  state.session = { id: session_id, model: message.model };
  models.fix(message.model);
  if (temporary.on) return;
  byId("open-share").hidden = false;
  history.replaceState(null, "", sessionPage(session_id));
  composer.renameDraft(session_id);
  attachments.renameDraft(session_id);
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
  if (gauge.refused(frame)) return;
  status.say("");
  status.error(frame.message);
  if (branching.refused(frame)) return;
  const { text, files } = conversation.withdraw(frame.client_id);
  attachments.restore(files);
  if (text) composer.restore(text);
  if ((text || files.length) && frame.retry_after_s) {
    const restored = composer.text;
    // Not what was changed meanwhile: that is not finished.
    retry.offer(frame.retry_after_s, () => composer.text === restored && composer.submit());
  }
  if (conversation.isEmpty) byId("welcome").hidden = false;
  composer.setBusy(Boolean(conversation.running));
}

/** The server says that our copy cannot be right: take its page instead, and go on from there. */
async function rewind() {
  if (temporary.on) return status.error(say("gone")); // there is no page to take
  const which = ++rewinds;
  const from = new URLSearchParams({ from: conversation.start ?? "" });
  const reply = await fetch(`${location.pathname}?${from}`, { headers: { Accept: "text/html" } });
  if (!reply.ok) return status.error(say("gone"));
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  if (which !== rewinds) return; // a later one knows better
  const fresh = page.getElementById("conversation");
  branching.across(() => {
    const pending = conversation.root.querySelectorAll(".pending");
    conversation.root.replaceWith(fresh);
    const state = pageState(page);
    conversation.adopt(fresh, state);
    earlier.show(state.before);
    fresh.append(...pending);
  });
  composer.setBusy(Boolean(conversation.running));
  scroll.watch();
  count();
  socket.follow(state.session.id, Number(fresh.dataset.after));
}

composer.stopButton.addEventListener("click", stop);
byId("scroll").addEventListener("click", (event) => {
  const message = event.target.closest(".continue")?.closest(".message").message;
  if (message) goOn(message.id);
});
listenForExamples(byId("welcome"), composer);
byId("open-help").addEventListener("click", () => byId("help").showModal());
listenForCopying(byId("scroll"));
listenForSources(byId("scroll"), failed);
listenForFiles(document, byId("drop"), composer.area, attachments);
new Prompts(composer, failed);
new Import(() => sidebar.refresh());
new Share(() => socket.session);
new Feedback(byId("scroll"), () => socket.session, { show: (it) => scroll.show(it), failed });
listenForForking(byId("scroll"), () => socket.session, { leave, failed });
listenForDictation(byId("dictate"), composer, failed);
listenForReading(byId("scroll"));
listenForTheme(byId("theme"));
listenForShortcuts({
  newSession: () => leave(home),
  find: () => sidebar.find(),
  sidebar: () => sidebar.toggle(),
  help: () => byId("help").showModal(),
  settings: () => settings.open(),
  regenerate: () => temporary.on || branching.regenerateLast(),
  stop: () => sidebar.closeDrawer() || stop(),
  print: () => earlier.all().then(() => print()),
});

const found = conversation.find(new URLSearchParams(location.search).get("message") ?? "");
if (found) {
  found.element.classList.add("found");
  scroll.show(found.element);
  history.replaceState(null, "", location.pathname); // another branch may be asked for from here on
}
modelChosen();
attachments.useDraft(state.session?.id ?? "new");
composer.setBusy(Boolean(conversation.running));
if (state.session) socket.follow(state.session.id, Number(conversation.root.dataset.after));
composer.focus();
