// Another run laid over the charts, where the server knows some: `sluicebox serve STATE OTHER`.

import { get } from "./api.js";
import { byId, make } from "./dom.js";
import { choice, choose } from "./keep.js";
import { Points } from "./points.js";

export class Other {
  /** `series` says which epochs and numbers are shown; calls `changed` when the charts must be redrawn. */
  constructor(series, changed) {
    [this.series, this.changed] = [series, changed];
    this.points = null;
    this.name = "";
    this.asked = "";
    byId("other").addEventListener("change", () => {
      choose("run", byId("other").value || null, true);
      this.load();
    });
  }

  /** Lists the runs, once. */
  async meet() {
    const runs = await get("/runs.json").catch(() => []);
    if (!runs.length) return;
    const option = (run, at) => make("option", { value: at + 1 }, `${run.name} (${run.job}, ${run.method})`);
    byId("other").replaceChildren(make("option", { value: "" }, "no other run"), ...runs.map(option));
    byId("other").value = choice("run") ?? "";
    byId("other-label").hidden = false;
    document.querySelector(".hint-other").hidden = false;
    this.load();
  }

  /** Loads the chosen run, where it is not the one that is loaded. */
  async load() {
    const run = byId("other").value;
    const wanted = [...this.series.wanted];
    const asked = run && wanted.length ? `/history.json?run=${run}&${this.series.query()}` : "";
    if (asked === this.asked) return;
    this.asked = asked;
    const answer = asked ? await get(asked).catch(() => null) : null;
    if (this.asked !== asked) return;
    this.points = answer?.length ? Points.of(wanted, answer) : null;
    this.name = this.points ? byId("other").selectedOptions[0].textContent : "";
    this.changed();
  }

  /** Returns the x of each of its points. On wall time both runs begin together. */
  across(axis, own) {
    const xs = this.points.across(axis);
    const [first, begin] = [xs[0], own.across(axis)[0]];
    return axis === "time" && begin !== undefined ? xs.map((x) => x - first + begin) : xs;
  }
}
