// Asks the API for something, with what it wants to see of a page of its own.

import { api } from "./addresses.js";
import { say } from "./strings.js";

/** What it answers, or null where it answers nothing. Throws an Error whose message is for people. */
export async function ask(method, path, body, otherwise = say("not_done")) {
  const headers = { "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const reply = await fetch(api(path), {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  }).catch(() => null);
  if (reply?.status === 204) return null;
  const told = await reply?.json().catch(() => null);
  if (reply?.ok && told) return told;
  throw new Error(told?.error?.message ?? otherwise);
}
