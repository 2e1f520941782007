// Copies a message or a code block, and says so on the button that was pressed.

import { say } from "./strings.js";

/** Give each code block inside `root` its button. */
export function addCopyButtons(root) {
  for (const figure of root.querySelectorAll("figure.code:not(:has(.copy-code))")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy-code";
    button.textContent = say("copy");
    button.setAttribute("aria-label", say("copy_code"));
    figure.append(button);
  }
}

/** One listener for all copy buttons inside `root`, now and later. */
export function listenForCopying(root) {
  root.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy, .copy-code");
    if (!button) return;
    const text = button.matches(".copy-code")
      ? button.closest("figure").querySelector("pre").textContent
      : button.closest(".message").message.text;
    await copy(text);
    confirm(button);
  });
}

export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without https the browser offers no clipboard; the old way still works.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function confirm(button) {
  button.classList.add("done");
  if (button.matches(".copy-code")) button.textContent = say("copied");
  document.getElementById("announcer").textContent = say("copied");
  button.addEventListener("pointerleave", () => reset(button), { once: true });
  button.addEventListener("blur", () => reset(button), { once: true });
}

function reset(button) {
  button.classList.remove("done");
  if (button.matches(".copy-code")) button.textContent = say("copy");
}
