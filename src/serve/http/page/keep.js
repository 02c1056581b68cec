// The user's choices, kept in the browser's storage. The page also works where the browser keeps
// nothing.

/** Returns the text kept under `key`, or null. */
export function kept(key, store = () => localStorage) {
  try {
    return store().getItem(key);
  } catch {
    return null;
  }
}

/** Keeps text under `key`, where that is allowed. */
export function keep(key, text, store = () => localStorage) {
  try {
    store().setItem(key, text);
  } catch {
    // Not kept: the page starts without it next time.
  }
}
