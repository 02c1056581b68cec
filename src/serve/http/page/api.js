// The job's server. The token is kept for this tab only and sent as a header, which no other
// page can do.

import { keep, kept } from "./keep.js";

const KEY = "sluicebox-token";
const SILENCE = 40_000; // the server sends a keep-alive every 15 s

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

let token = kept(KEY, () => sessionStorage);

export function useToken(given) {
  token = given;
  keep(KEY, token, () => sessionStorage);
}

/** Returns whether a token is used. */
export const usedToken = () => Boolean(token);

function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(), cache: "no-store" });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.error ?? `the server answers ${answer.status}`);
}

export const get = async (path) => (await ask(path)).json();
export const post = async (path) => (await ask(path, { method: "POST" })).json();

/** Receives events until the connection ends or `ending` aborts it. Calls `opened` once it is open. */
export async function listen(opened, heard, ending) {
  let watch = null;
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(() => ending.abort(), SILENCE);
  };
  alive();
  try {
    const answer = await ask("/events", { signal: ending.signal });
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      parts.forEach((part) => tell(part, heard));
    }
  } finally {
    clearTimeout(watch);
  }
}

function tell(part, heard) {
  const field = (name) => part.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const [name, data] = [field("event"), field("data")];
  if (name && data) heard(name, JSON.parse(data));
}
