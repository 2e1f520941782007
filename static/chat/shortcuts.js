// Keys that work anywhere on the page. The list that a person reads is in dialogs.html.

/**
 * actions: newSession, find, sidebar, help, regenerate, print, stop (returns whether there was
 * something to stop).
 */
export function listenForShortcuts(actions) {
  addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey) return;
    if (event.key === "Escape" && !document.querySelector("dialog[open], :popover-open")) {
      if (actions.stop()) event.preventDefault();
      return;
    }
    if (!(event.ctrlKey || event.metaKey)) return;
    const action = actionFor(event, actions);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function actionFor(event, actions) {
  const key = event.key.toLowerCase();
  if (event.shiftKey) return { o: actions.newSession, enter: actions.regenerate }[key] ?? null;
  return { k: actions.find, b: actions.sidebar, p: actions.print, "/": actions.help }[key] ?? null;
}
