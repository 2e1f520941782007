// Dictating and reading aloud, by what the browser has for it; without that, no button.

import { say } from "./strings.js";

const Recognition = globalThis.SpeechRecognition ?? globalThis.webkitSpeechRecognition;
const LONGEST = 180; // characters said in one go: some browsers fall silent in longer texts

/** The page's language, in the reader's own variety of it where the browser names one. */
function language() {
  const page = document.documentElement.lang.toLowerCase();
  const base = page.split("-")[0];
  const own = navigator.languages.find((each) => each.toLowerCase().startsWith(`${base}-`));
  return own ?? { en: "en-US", zh: "zh-CN" }[base] ?? page;
}

/** button: hidden until it is known to be of use. failed(message) tells the person. */
export function listenForDictation(button, composer, failed) {
  if (!Recognition) return;
  let recognition = null;
  button.hidden = false;
  button.addEventListener("click", () => {
    if (recognition) return recognition.stop();
    recognition = new Recognition();
    Object.assign(recognition, { lang: language(), continuous: true, interimResults: true });
    const before = composer.text && !/\s$/u.test(composer.text) ? `${composer.text} ` : composer.text;
    recognition.onresult = ({ results }) => {
      composer.text = before + [...results].map(([best]) => best.transcript).join("");
    };
    recognition.onerror = ({ error }) => {
      if (error !== "aborted" && error !== "no-speech") failed(say("not_heard"));
    };
    recognition.onend = () => {
      recognition = null;
      button.setAttribute("aria-pressed", "false");
      composer.area.focus();
    };
    button.setAttribute("aria-pressed", "true");
    recognition.start();
  });
}

/** One listener for all messages inside `root`. The pressed button stops again. */
export function listenForReading(root) {
  const voice = globalThis.speechSynthesis;
  if (!voice) return;
  document.documentElement.dataset.speaks = "";
  let speaking = null;
  const end = () => {
    speaking?.setAttribute("aria-pressed", "false");
    speaking = null;
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest(".read-aloud");
    if (!button) return;
    const again = button === speaking;
    end();
    voice.cancel();
    if (again) return;
    const parts = partsOf(spokenText(button.closest(".message").querySelector(".content")));
    if (!parts.length) return;
    speaking = button;
    button.setAttribute("aria-pressed", "true");
    for (const part of parts) {
      const said = Object.assign(new SpeechSynthesisUtterance(part), { lang: language() });
      if (part === parts.at(-1)) said.onend = () => speaking === button && end();
      voice.speak(said);
    }
  });
  addEventListener("pagehide", () => voice.cancel());
}

/** What a person would read out: no code, and formulas as little. */
function spokenText(content) {
  const copy = content.cloneNode(true);
  for (const element of copy.querySelectorAll("figure.code, pre, math, button")) element.remove();
  for (const block of copy.querySelectorAll("p, li, h1, h2, h3, h4, h5, h6, tr")) block.append("\n");
  return copy.textContent;
}

/** Sentences, of which long ones are divided between words. */
function partsOf(text) {
  const sentences = text.match(/[^.!?。！？；\n]+[.!?。！？；]*/gu) ?? [];
  return sentences
    .flatMap((sentence) => sentence.trim().match(new RegExp(`.{1,${LONGEST}}(?=\\s|$)|.{1,${LONGEST}}`, "gsu")) ?? [])
    .map((part) => part.trim())
    .filter((part) => /[\p{L}\p{N}]/u.test(part));
}
