// A new session out of this one, up to a message.

import { sessionPage } from "./addresses.js";
import { ask } from "./ask.js";

/** box: the scrolling element. session(): its id. failed(message) tells the person. */
export function listenForForking(box, session, { leave, failed }) {
  box.addEventListener("click", async (event) => {
    const message = event.target.closest(".fork")?.closest(".message");
    if (!message) return;
    try {
      const path = `sessions/${session()}/messages/${message.dataset.messageId}/fork`;
      const made = await ask("POST", path);
      leave(sessionPage(made.id));
    } catch (error) {
      failed(error.message);
    }
  });
}
