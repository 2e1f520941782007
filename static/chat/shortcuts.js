// Keys that work anywhere on the page. The list that a person reads is in dialogs.html.

/**
 * actions: newSession, find, sidebar, help, settings, regenerate, print, stop (returns whether
 * there was something to stop).
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
  const { find, sidebar, help, settings, print } = actions;
  return { k: find, b: sidebar, p: print, "/": help, ",": settings }[key] ?? null;
}
