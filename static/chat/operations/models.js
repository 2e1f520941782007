// The page of models: what is on disk and in memory, and the one piece of work that is under way.

import { bytes, number, post } from "./common.js";
import { put, rows } from "./rows.js";

const EVERY_MS = 3000;
const WORKING_MS = 700;
const page = document.getElementById("models-page");
const words = page.dataset;
const at = (id) => document.getElementById(id);
let timer = 0;
let working = false;

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function fill(row, model) {
  put(row, "name", model.name);
  put(row, "title", model.title);
  put(row, "license", model.license || "–");
  put(row, "size", size(model));
  const memory = model.memory && words[`memory${capital(model.memory)}`];
  put(row, "state", [words[model.state], memory, model.busy && words.busy].filter(Boolean).join(" · "));
  const shares = model.shares && words.shares.replace("{model}", model.shares);
  put(row, "detail", shares || (model.state === "invalid" ? model.detail : ""));
  for (const [verb, offered] of Object.entries(offers(model))) {
    const part = row.querySelector(`[data-verb="${verb}"]`);
    if (!part) return;
    part.hidden = !offered;
    const button = part.matches("button") ? part : part.querySelector("button");
    button.disabled = working;
    button.onclick = () => act(verb, model.name, part.querySelector("select")?.value);
  }
}

function size(model) {
  if (model.size) return bytes(model.size);
  return model.download ? words.about.replace("{size}", bytes(model.download)) : "–";
}

function offers(model) {
  const whole = model.state === "ready";
  return {
    pull: !whole && !model.shares && model.download > 0,
    load: whole && !model.memory,
    unload: model.memory === "ready" && !model.busy,
    convert: whole && !model.shares,
    remove: !model.shares && (whole || model.state === "invalid") && !model.busy,
  };
}

async function act(verb, name, dtype) {
  if (verb === "remove" && !confirm(words.sure.replace("{model}", name))) return;
  try {
    await post(page, `${words.act}${verb}/`, dtype ? { name, dtype } : { name });
    say("");
  } catch (error) {
    say(error.message);
  }
  ask();
}

function showWork(work) {
  at("work").hidden = !work;
  working = work?.state === "running";
  if (!work) return;
  const { done, total } = work;
  at("work-title").textContent = words[`verb${capital(work.verb)}`].replace("{model}", work.model);
  const state = working ? "" : words[`end${capital(work.state)}`];
  if (at("work-state").textContent !== state) at("work-state").textContent = state;
  const bar = at("work-bar");
  bar.hidden = !working;
  if (total) bar.value = done / total;
  else bar.removeAttribute("value");
  const far = total ? `${bytes(done)} / ${bytes(total)} (${number(Math.floor((100 * done) / total))} %)` : "";
  const now = working ? [work.label, far].filter(Boolean).join(" · ") : work.message;
  at("work-note").textContent = [...work.notes, now].filter(Boolean).join("\n");
  at("work").classList.toggle("failed", work.state === "failed");
  if (at("work-cancel")) at("work-cancel").hidden = !working;
}

function say(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

async function ask() {
  clearTimeout(timer);
  try {
    const answer = await fetch(words.status);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    showWork(told.work);
    rows(at("models"), "model-row", told.models, (model) => model.name, fill);
    if (at("trouble").textContent === words.lost) say("");
  } catch {
    say(words.lost);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, working ? WORKING_MS : EVERY_MS);
}

at("work-cancel")?.addEventListener("click", () => post(page, `${words.act}cancel/`).then(ask, (error) => say(error.message)));
document.addEventListener("visibilitychange", () => document.hidden || ask());
ask();
