// localStorage where it is allowed and has room; the page works without it.

export function load(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/** Store `value` under `key`; an empty value forgets the key. */
export function store(key, value) {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch {
    // Nothing to be done, and nothing on the page is lost.
  }
}
