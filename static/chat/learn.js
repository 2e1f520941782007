// The learning page: asks for the numbers of one forward pass and walks through them.

import { api } from "./addresses.js";
import { figures } from "./learn_figures.js";
import { say } from "./strings.js";

const byId = (id) => document.getElementById(id);
const form = byId("learn-form");
const steps = [...document.querySelectorAll(".step")];
const dots = [...document.querySelectorAll(".dots button")];

let trace = null;
let at = 0;
let asked = 0;

/** Ask for the numbers of `ids`, or of the text in the form. Only the newest answer counts. */
async function compute(ids = []) {
  if (!form.reportValidity()) return;
  const which = ++asked;
  byId("learn-status").textContent = say("computing");
  const reply = await request({ ...values(), input: byId("sentence").value, ids });
  if (which !== asked) return;
  byId("learn-status").textContent = "";
  byId("learn-error").hidden = !reply.error;
  byId("learn-error").textContent = reply.error ?? "";
  if (reply.error) return;
  trace = reply.trace;
  form.elements.layer.max = trace.sizes.layers - 1;
  form.elements.head.max = trace.sizes.heads - 1;
  byId("walk").hidden = false;
  for (const step of steps) {
    const drawn = figures[step.dataset.step](trace, values());
    step.querySelector(".figure").replaceChildren(...drawn);
  }
  showAppend();
  show(at);
}

async function request(body) {
  try {
    const reply = await fetch(api("learn/trace"), {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
      },
      body: JSON.stringify(body),
    });
    const told = await reply.json();
    return reply.ok ? { trace: told } : { error: told.error.message };
  } catch {
    return { error: say("learn_failed") };
  }
}

function values() {
  const fields = Object.fromEntries(new FormData(form));
  const numbers = Object.entries(fields).map(([name, value]) => [name, Number(value)]);
  return { ...Object.fromEntries(numbers), model: fields.model };
}

function show(index, focus = false) {
  at = Math.max(0, Math.min(steps.length - 1, index));
  steps.forEach((step, i) => (step.hidden = i !== at));
  dots.forEach((dot, i) => {
    if (i === at) dot.setAttribute("aria-current", "step");
    else dot.removeAttribute("aria-current");
  });
  byId("step-of").textContent = say("step_of", { n: at + 1, total: steps.length });
  // not `disabled`: the button that the keyboard is on must not lose it
  byId("step-back").setAttribute("aria-disabled", String(at === 0));
  byId("step-on").setAttribute("aria-disabled", String(at === steps.length - 1));
  if (focus) steps[at].querySelector("h2").focus({ preventScroll: true });
}

function showAppend() {
  const isFull = trace.ids.length >= trace.limit;
  byId("append").disabled = isFull || trace.ends;
  const note = trace.ends ? say("ended") : isFull ? say("full", { n: trace.limit }) : "";
  byId("append-note").textContent = note;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  compute();
});
form.addEventListener("invalid", () => (form.querySelector("details").open = true), true);
form.addEventListener("change", ({ target }) => {
  if (!trace || target.matches("textarea")) return;
  compute(target.name === "model" ? [] : trace.ids); // another model has other tokens
});
byId("step-back").addEventListener("click", () => show(at - 1));
byId("step-on").addEventListener("click", () => show(at + 1));
byId("append").addEventListener("click", async () => {
  await compute([...trace.ids, trace.token]);
  byId("sentence").value = trace.text;
});
for (const [index, dot] of dots.entries()) dot.addEventListener("click", () => show(index, true));
addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const { target } = event;
  const typing = target.matches?.("input, textarea, select");
  const scrolls = target.matches?.(".figure") && target.scrollWidth > target.clientWidth;
  if (!step || !trace || typing || scrolls || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(at + step, true);
});
compute();
