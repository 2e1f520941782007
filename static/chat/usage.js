// A person's own use: asked for when the panel is opened.

import { api } from "./addresses.js";
import { number, say } from "./strings.js";

const DAYS = 7;
const panel = document.getElementById("usage");
const language = document.documentElement.lang;

document.getElementById("open-usage").addEventListener("click", async () => {
  panel.showModal();
  try {
    const answer = await fetch(api("usage"));
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.json());
  } catch {
    panel.querySelector(".usage-today").textContent = say("usage_unknown");
  }
});

function show(usage) {
  const limit = usage.tokens_per_day;
  const today = limit === null ? "usage_today" : "usage_of";
  panel.querySelector(".usage-today").textContent = say(today, { n: number(usage.used), limit: number(limit ?? 0) });
  const meter = panel.querySelector("meter");
  meter.hidden = limit === null;
  meter.value = limit ? usage.used / limit : 0;
  panel.querySelector(".usage-limit").textContent = rules(usage).join(" ");
  const rows = usage.days.slice(0, DAYS).map((day) => {
    const cells = [dayName(day.day), day.turns, day.prompt_tokens, day.output_tokens];
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => {
      const node = document.createElement("td");
      node.textContent = typeof cell === "number" ? number(cell) : cell;
      return node;
    }));
    return row;
  });
  panel.querySelector("table").hidden = rows.length === 0;
  panel.querySelector("tbody").replaceChildren(...rows);
}

function rules(usage) {
  const told = [];
  if (usage.tokens_per_day !== null) {
    const time = new Date(usage.resets_at).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
    told.push(say("usage_resets", { time }));
  }
  if (usage.reserved > 0) told.push(say("usage_held", { n: number(usage.reserved) }));
  if (usage.concurrent_turns !== null) told.push(say("usage_at_once", { n: number(usage.concurrent_turns) }));
  return told;
}

function dayName(day) {
  return new Intl.DateTimeFormat(language, { month: "short", day: "numeric", timeZone: "UTC" }).format(new Date(day));
}
