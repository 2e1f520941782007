// The line in a conversation above which the model no longer reads.

import { say } from "./strings.js";

/** Draw it so that the first `leftOut` messages of `root` stand above it; 0: none. */
export function showMemory(root, leftOut) {
  for (const line of root.querySelectorAll(".memory-line")) line.remove();
  const messages = root.querySelectorAll(".message:not(.pending)");
  if (!leftOut || !messages.length) return;
  const line = document.createElement("p");
  line.className = "memory-line";
  line.textContent = say("memory_begins");
  // Inside of a message: messages stay each other's neighbours.
  if (leftOut < messages.length) messages[leftOut].prepend(line);
  else messages[messages.length - 1].append(line);
}
