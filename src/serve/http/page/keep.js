// The user's choices: in the address, so that a link shows the same, and in the browser's storage for the next time. The
// page also works where the browser keeps nothing.

const PREFIX = "sluicebox-";

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

/** Returns the choices in the address; a part of the page, such as `#flow`, is none. */
const linked = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

/** Returns a choice: that of the address, else the one of the last time, else null. */
export function choice(key) {
  return linked().get(key) ?? (kept(PREFIX + key) || null);
}

/** Makes a choice; null takes it back. It is there the next time, too, unless it `passes`. */
export function choose(key, text, passes = false) {
  const all = linked();
  if (text === null) all.delete(key);
  else all.set(key, text);
  const hash = String(all).replaceAll("%2C", ",").replaceAll("%7E", "~");
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  if (!passes) keep(PREFIX + key, text ?? "");
}
