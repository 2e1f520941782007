// The page of settings: one form for each value that may be changed while the site runs.

import { post } from "./common.js";
import { put } from "./rows.js";

const page = document.getElementById("settings-page");
const words = page.dataset;
const trouble = document.getElementById("trouble");

for (const form of page.querySelectorAll("form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const row = form.closest("tr");
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const told = await post(page, words.change, { name: row.dataset.name, value: form.value.value });
      put(row, "value", told.value);
      put(row, "source", words[`source${told.source[0].toUpperCase()}${told.source.slice(1)}`]);
      say(words.saved, false);
    } catch (error) {
      say(error.message, true);
    }
    button.disabled = false;
  });
}

function say(text, isTrouble) {
  trouble.textContent = text;
  trouble.hidden = false;
  trouble.classList.toggle("good", !isTrouble);
}
