// What this browser remembers of its reader's choices. One that remembers nothing shows the page
// all the same.

/** What was kept under `key`, else null. */
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
    // It is asked for again next time.
  }
}
