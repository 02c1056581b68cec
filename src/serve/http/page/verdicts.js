// The verdicts on the newest epoch. Their words and tones are the server's.

import { get } from "./api.js";
import { byId, make, seldom } from "./dom.js";

/** Time in ms after which ages are asked for again. */
const AGE = 5000;

export class Verdicts {
  constructor() {
    this.load = seldom(900, () => this.fetch());
    this.over = false;
    this.epoch = null; // that of the newest report
    setInterval(() => { if (!document.hidden && !this.over && this.epoch) this.load(); }, AGE);
  }

  /** Shows the verdicts on an epoch. */
  of(epoch) {
    this.epoch = epoch;
    this.load();
  }

  async fetch() {
    let verdicts;
    try {
      verdicts = await get(this.epoch ? `/verdicts.json?epoch=${this.epoch}` : "/verdicts.json");
    } catch {
      return; // the connection's banner reports it
    }
    const items = verdicts.map((verdict) => make("li", { class: "panel", "data-tone": verdict.tone, "data-verdict": verdict.key },
      make("h3", {}, verdict.title), make("strong", {}, verdict.head), make("span", {}, verdict.more)));
    byId("verdicts").replaceChildren(...items);
    byId("verdicts").hidden = !items.length;
  }
}
