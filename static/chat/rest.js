// The REST API, asked for JSON.

import { api } from "./addresses.js";

/**
 * The reply's JSON (null where it is empty). Throws an Error whose message is for the person;
 * `field` names what is at fault, and `code` what kind of fault it is. failed: the message where the
 * server says nothing.
 */
export async function rest(method, path, { body, failed }) {
  const reply = await fetch(api(path), {
    method,
    headers: {
      "Content-Type": "application/json",
      "X-CSRFToken": document.querySelector("meta[name=csrf-token]").content,
    },
    body: body && JSON.stringify(body),
  }).catch(() => null);
  if (reply?.status === 204) return null;
  const told = await reply?.json().catch(() => null);
  if (reply?.ok && told) return told;
  const { message, param, code } = told?.error ?? {};
  throw Object.assign(new Error(message ?? failed), { field: param, code });
}
