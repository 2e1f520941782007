// What the server is asked about files.

import { api } from "./addresses.js";
import { say } from "./strings.js";

const token = () => document.querySelector("meta[name=csrf-token]").content;

/** The file as the server has read it. Throws an Error whose message is for the person. */
export async function uploadFile(file, model) {
  const body = new FormData();
  body.append("file", file, file.name);
  const reply = await fetch(api(`files?${new URLSearchParams({ model })}`), {
    method: "POST",
    headers: { "X-CSRFToken": token() },
    body,
  }).catch(() => null);
  const told = await reply?.json().catch(() => null);
  if (reply?.ok && told) return told;
  throw new Error(told?.error?.message ?? say("file_failed", { name: file.name }));
}

/** {text, ...} of a file, or of a part of it. Throws likewise. */
export async function fetchText(id, bounds = {}) {
  const reply = await fetch(api(`files/${id}?${new URLSearchParams(bounds)}`)).catch(() => null);
  if (!reply?.ok) throw new Error(say("file_gone"));
  return reply.json();
}

/** Nobody waits for it: what stays is swept away. */
export function deleteFile(id) {
  fetch(api(`files/${id}`), { method: "DELETE", headers: { "X-CSRFToken": token() } }).catch(() => {});
}
