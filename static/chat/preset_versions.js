// What a preset was, listed below it: to be filled in, or to be what it is again.

import { day, say } from "./strings.js";

/**
 * A list for the preset's row, or none where it had one. handlers: read() returns the versions, the
 * newest first, which is what it is; use(version) and restore(version).
 */
export async function toggleVersions(item, handlers) {
  const button = item.querySelector(".history");
  const shown = item.querySelector("ol");
  button.setAttribute("aria-expanded", String(!shown));
  if (shown) return shown.remove();
  const [now, ...earlier] = await handlers.read();
  const list = document.createElement("ol");
  list.append(...[now, ...earlier].filter(Boolean).map((version) => row(version, version === now, handlers)));
  item.append(list);
}

function row(version, isNow, { use, restore }) {
  const item = document.createElement("li");
  const time = day(new Date(version.created_at));
  const what = Object.assign(document.createElement("span"), { dir: "auto", textContent: told(version.settings) });
  const when = Object.assign(document.createElement("small"), {
    textContent: say(isNow ? "preset_version_now" : "preset_version", { n: version.number, time }),
  });
  item.append(when, what, button("preset_version_use", version, use));
  if (!isNow) item.append(button("preset_version_restore", version, restore));
  return item;
}

function button(key, version, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "link" });
  made.textContent = say(key);
  made.setAttribute("aria-label", `${say(key)}: ${say("preset_version", { n: version.number, time: day(new Date(version.created_at)) })}`);
  made.addEventListener("click", () => act(version));
  return made;
}

/** Its system prompt, or else its numbers, for one line. */
function told({ system_prompt, ...others }) {
  if (system_prompt) return system_prompt.slice(0, 200);
  return Object.entries(others).map(([name, value]) => `${name}: ${value}`).join(", ") || "–";
}
