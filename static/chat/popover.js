// What all menus that open beside a button have in common: their place, and the arrow keys.

/** Open `menu` below `button`, or above it where there is no room, with the keyboard on its first entry. */
export function openMenu(menu, button) {
  menu.showPopover();
  button.setAttribute("aria-expanded", "true");
  menu.opener = button;
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = at.bottom + height + 8 < innerHeight;
  menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - height - 4)}px`;
  menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  entries(menu)[0].focus();
}

/** choose(entry) is called with the entry that was chosen, after the menu is closed. */
export function listenToMenu(menu, choose) {
  menu.addEventListener("click", (event) => {
    const entry = event.target.closest("[role=menuitem]");
    if (!entry) return;
    menu.hidePopover();
    choose(entry);
  });
  menu.addEventListener("keydown", (event) => move(menu, event));
  menu.addEventListener("toggle", ({ newState }) => {
    if (newState === "closed") menu.opener?.setAttribute("aria-expanded", "false");
  });
}

function entries(menu) {
  return [...menu.querySelectorAll("[role=menuitem]")].filter((entry) => !entry.hidden);
}

function move(menu, event) {
  const all = entries(menu);
  const at = all.indexOf(document.activeElement);
  const step = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: -1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (step === undefined) return;
  event.preventDefault();
  all.at(step === -1 ? -1 : step % all.length).focus();
}
