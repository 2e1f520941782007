// Changes to a session in the list, as the server is asked for them.

import { say } from "./strings.js";

/** The session as it is after the changes. Throws an Error whose message is for the person. */
export async function editSession(id, changes) {
  const reply = await fetch(`/api/sessions/${id}`, {
    method: "PATCH",
    headers: {
      "Content-Type": "application/json",
      "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
    },
    body: JSON.stringify(changes),
  }).catch(() => null);
  const body = await reply?.json().catch(() => null);
  if (reply?.ok && body) return body;
  throw new Error(body?.error?.message ?? say("not_changed"));
}

/** A page of the list, from behind `before` on ("": the first one). */
export async function fetchPage(archived, before, limit) {
  const query = new URLSearchParams({ archived, before, limit });
  const reply = await fetch(`/api/sessions?${query}`).catch(() => null);
  if (!reply?.ok) throw new Error(say("not_listed"));
  return reply.json();
}
