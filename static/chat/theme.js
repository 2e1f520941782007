// Light, dark, or as the system says; the choice is kept and shared between tabs.

import { load, store } from "./storage.js";

export function listenForTheme(fieldset) {
  const show = () => {
    const theme = load("theme") || "auto";
    fieldset.querySelector(`[value="${theme}"]`).checked = true;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  fieldset.addEventListener("change", (event) => {
    store("theme", event.target.value === "auto" ? "" : event.target.value);
    show();
  });
  addEventListener("storage", (event) => event.key === "theme" && show());
  show();
}
