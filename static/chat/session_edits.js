// Changes to a session in the list, as the server is asked for them.

import { api } from "./addresses.js";
import { ask } from "./ask.js";
import { say } from "./strings.js";

/** The session as it is after the changes. Throws an Error whose message is for the person. */
export function editSession(id, changes) {
  return ask("PATCH", `sessions/${id}`, changes, say("not_changed"));
}

/** A page of the list, of one folder or ("") of all, from behind `before` on ("": the first one). */
export async function fetchPage(archived, folder, before, limit) {
  const query = new URLSearchParams({ archived, folder, before, limit });
  const reply = await fetch(api(`sessions?${query}`)).catch(() => null);
  if (!reply?.ok) throw new Error(say("not_listed"));
  return reply.json();
}
