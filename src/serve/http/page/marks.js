// Marks: what happened to the job, as a list that can be filtered and as lines on every chart.

import { get } from "./api.js";
import { byId, make, seldom } from "./dom.js";
import * as format from "./format.js";
import { choice, choose } from "./keep.js";

const LISTED = 200;
/** Number of marks from which their lines are faint. */
const MANY = 30;
const KINDS = {
  drift: "Drift alarm",
  gate: "Gate closed",
  alarm: "Filter or class alarm",
  restart: "Restart",
  checkpoint: "Checkpoint",
  failure: "Failure",
};
/** Colours in the style sheet. */
export const COLOURS = { drift: "--wait", gate: "--bad", alarm: "--bad", restart: "--accent", checkpoint: "--edge", failure: "--bad" };

export class Marks {
  /** Calls `changed` when the charts must be redrawn. */
  constructor(changed) {
    this.changed = changed;
    this.marks = [];
    this.off = new Set((choice("hidden") ?? "").split(",").filter((kind) => kind in KINDS));
    this.draw = seldom(500, () => this.list());
  }

  async load() {
    this.marks = await get("/marks.json").catch(() => this.marks);
    this.draw();
    this.changed();
  }

  add(mark) {
    this.marks.push(mark);
    this.draw();
    this.changed();
  }

  /** Returns the marks that are shown. */
  shown() {
    return this.marks.filter((mark) => !this.off.has(mark.kind));
  }

  list() {
    const filter = Object.entries(KINDS).map(([kind, words]) => {
      const count = this.marks.filter((mark) => mark.kind === kind).length;
      const box = make("input", { type: "checkbox", "data-kind": kind });
      box.checked = !this.off.has(kind);
      box.addEventListener("change", () => {
        if (box.checked) this.off.delete(kind);
        else this.off.add(kind);
        choose("hidden", this.off.size ? [...this.off].join(",") : null);
        this.list();
        this.changed();
      });
      return make("label", {}, box, make("i", { class: "swatch", "data-kind": kind }), `${words} (${format.whole(count)})`);
    });
    const focused = document.activeElement?.dataset?.kind;
    byId("kinds").replaceChildren(...filter);
    if (focused) byId("kinds").querySelector(`input[data-kind="${focused}"]`)?.focus();
    const item = (mark) => make("li", {},
      make("time", { datetime: new Date(mark.at_ms).toISOString() }, format.moment(mark.at_ms)),
      make("b", { "data-kind": mark.kind }, KINDS[mark.kind]),
      make("span", { class: "muted" }, `epoch ${format.whole(mark.epoch)}`), make("span", { class: "text" }, mark.text));
    const items = this.shown().slice(-LISTED).reverse().map(item);
    byId("marks").replaceChildren(...(items.length ? items : [make("li", { class: "muted" }, "Nothing yet.")]));
  }
}

/** Draws the marks on a chart: lines, and ticks at the bottom for checkpoints. `place` gives the x of an epoch,
 *  `colours` the colour of a kind. */
export function drawMarks(plot, marks, place, colours) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.globalAlpha = marks.length > MANY ? 0.35 : 0.75; // behind the line, and never hiding it
  for (const mark of marks) {
    const at = place(mark.epoch);
    if (at === null) continue;
    const x = Math.round(plot.valToPos(at, "x", true)) + 0.5;
    if (x < left || x > left + width) continue;
    ctx.strokeStyle = colours[mark.kind];
    ctx.lineWidth = mark.kind === "checkpoint" ? 1 : 1.5;
    ctx.setLineDash(mark.kind === "restart" ? [2, 3] : mark.kind === "gate" ? [6, 3] : []);
    ctx.beginPath();
    ctx.moveTo(x, mark.kind === "checkpoint" ? top + height - 6 : top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
  }
  ctx.restore();
}
