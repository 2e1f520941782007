// Table rows that are brought up to date in place: who stands on a button keeps standing on it.

/** Write a text into every part of `root` with this name. */
export function put(root, name, text) {
  for (const node of root.querySelectorAll(`[data-is="${name}"]`)) {
    if (node.textContent !== text) node.textContent = text;
  }
}

/** One row for each item, by key, made of the template with this id where it is new. */
export function rows(body, template, items, key, fill) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, place) => {
    const name = key(item);
    const row = old.get(name) ?? document.getElementById(template).content.firstElementChild.cloneNode(true);
    old.delete(name);
    row.dataset.key = name;
    fill(row, item);
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
  });
  for (const row of old.values()) row.remove();
}
