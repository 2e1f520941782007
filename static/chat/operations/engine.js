// The engine's page: asks what it does every two seconds, and shows it. It waits while nobody looks.

import { drawMap } from "./block_map.js";
import { draw } from "./chart.js";
import { bytes, duration, number, post } from "./common.js";
import { put, rows } from "./rows.js";

const EVERY_MS = 2000;
const page = document.getElementById("engine");
const trouble = page.querySelector(".ops-trouble");
const words = page.dataset;
let timer = 0;

function fillRequest(row, request) {
  put(row, "who", request.who);
  put(row, "model", request.model);
  put(row, "state", words[request.state]);
  const read = request.read < request.prompt ? `${number(request.read)} / ` : "";
  put(row, "prompt", read + number(request.prompt));
  put(row, "output", number(request.output));
  put(row, "age", duration(request.age_s, words));
  put(row, "speed", request.speed ? number(request.speed) : "–");
  const button = row.querySelector("button");
  if (!button) return;
  button.hidden = !request.generation;
  button.onclick = () => cancel(button, request.generation);
}

async function cancel(button, generation) {
  button.disabled = true;
  try {
    await post(page, words.cancel.replace("00000000-0000-0000-0000-000000000000", generation));
  } catch (error) {
    say(error.message);
    button.disabled = false;
  }
  ask();
}

function fillModel(row, model) {
  const { used, cached, free } = model.blocks;
  const total = used + cached + free;
  put(row, "name", model.name);
  put(row, "state", words[model.state]);
  put(row, "device", model.device);
  put(row, "weights", model.weights ? bytes(model.weights) : bytes(model.size));
  put(row, "cache", model.cache ? bytes(model.cache) : "–");
  put(row, "blocks", total ? [used, cached, free].map(number).join(" · ") : "–");
  drawMap(row.querySelector(".ops-map"), model.map);
  const stays = model.stays_s === null ? words.forever : duration(model.stays_s, words);
  put(row, "stays", model.in_use ? words.inUse : model.state === "ready" ? stays : "–");
}

function show(status) {
  say(status.error ?? "");
  const requests = status.requests ?? [];
  const models = status.models ?? [];
  put(page, "running", number(models.reduce((sum, model) => sum + model.running, 0)));
  put(page, "waiting", number(models.reduce((sum, model) => sum + model.waiting, 0)));
  put(page.querySelector(".ops-numbers"), "speed", number(status.history.at(-1)?.output ?? 0));
  for (const name of ["held", "budget", "server_memory", "engine_memory", "gpu_used", "gpu_total"]) {
    put(page, name, status[name] ? bytes(status[name]) : "–");
  }
  for (const tile of page.querySelectorAll("[data-if]")) tile.hidden = !status[tile.dataset.if];
  rows(document.getElementById("requests"), "request-row", requests, (r) => r.generation ?? `${r.who} ${r.age_s}`, fillRequest);
  rows(document.getElementById("models"), "model-row", models, (m) => m.name, fillModel);
  document.getElementById("no-requests").hidden = requests.length > 0;
  document.getElementById("no-models").hidden = models.length > 0;
  for (const chart of page.querySelectorAll(".ops-chart")) draw(chart, status.history);
}

function say(text) {
  if (trouble.textContent !== text) trouble.textContent = text;
  trouble.hidden = !text;
}

async function ask() {
  clearTimeout(timer);
  try {
    const answer = await fetch(words.status, { headers: { accept: "application/json" } });
    const told = await answer.json();
    if (answer.ok) show(told);
    else say(told.error);
  } catch {
    say(words.lost);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, EVERY_MS);
}

document.addEventListener("visibilitychange", () => document.hidden || ask());
ask();
