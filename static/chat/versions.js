// Where a message has other versions: which one this is, and the way to the others.

import { number, say } from "./strings.js";

/** Show below `element` that it is `id`, one of `versions` (ids, oldest first). */
export function showVersions(element, id, versions) {
  const nav = element.querySelector(".versions");
  const place = versions.indexOf(id);
  nav.hidden = versions.length < 2;
  const numbers = { n: number(place + 1), total: number(versions.length) };
  const which = nav.querySelector(".which");
  which.textContent = `${numbers.n}/${numbers.total}`;
  which.setAttribute("aria-label", say("version", numbers));
  which.setAttribute("role", "img");
  offer(nav.querySelector(".earlier"), versions[place - 1]);
  offer(nav.querySelector(".later"), versions[place + 1]);
}

function offer(button, id) {
  // Not `disabled`: a button that the keyboard is on must not lose it at the last version.
  button.setAttribute("aria-disabled", String(!id));
  button.dataset.version = id ?? "";
}

/** One listener for all versions inside `root`. choose(id) asks for another one. */
export function listenForVersions(root, choose) {
  let waiting = null; // which button to give the keyboard back to, once its version is shown
  root.addEventListener("click", (event) => {
    const button = event.target.closest(".versions button");
    if (!button?.dataset.version) return;
    const { version } = button.dataset;
    const top = button.getBoundingClientRect().top;
    if (choose(version)) waiting = { version, top, name: button.classList.item(1) };
  });
  /** After another branch came: stay where the person was. Returns whether that was asked for. */
  return (box) => {
    const element = waiting && box.querySelector(`[data-message-id="${CSS.escape(waiting.version)}"]`);
    if (!element) return false;
    const button = element.querySelector(`.${waiting.name}`);
    button.focus({ preventScroll: true });
    box.scrollTop += button.getBoundingClientRect().top - waiting.top;
    document.getElementById("announcer").textContent = element
      .querySelector(".which")
      .getAttribute("aria-label");
    waiting = null;
    return true;
  };
}
