// The history in the charts: range of epochs, numbers, and epochs finished since it was loaded.

import { get } from "./api.js";
import { seldom } from "./dom.js";
import { choice, choose } from "./keep.js";
import { Points } from "./points.js";

const POINTS = 400;
const MOST_POINTS = 800;

export class Series {
  /** Calls `changed` when the charts must be redrawn. */
  constructor(changed) {
    this.changed = changed;
    this.wanted = [];
    this.last = Number(choice("last")) || 0; // number of newest epochs to follow; 0: all
    const [from, to] = (choice("epochs") ?? "").split("-").map(Number);
    this.fixed = from >= 1 && to > from ? [from, to] : null; // after a zoom; overrides `last`
    this.newest = 0;
    this.zooming = null;
    this.points = new Points([]);
    this.reload = seldom(1500, () => this.load());
  }

  /** Returns the first and last epoch shown. */
  span() {
    if (this.fixed) return this.fixed;
    const first = this.last ? Math.max(1, this.newest - this.last + 1) : (this.first ?? 1);
    return [first, Math.max(first, this.newest)];
  }

  want(names) {
    this.wanted = names;
    this.reload();
  }

  follow(last) {
    this.look(last, null);
  }

  /** Shows epochs `from` to `to`, as far as they exist. */
  show(from, to) {
    const [low, high] = [Math.max(1, Math.round(from)), Math.min(this.newest, Math.round(to))];
    if (high - low < 1) return;
    if (low <= 1 && high >= this.newest) this.look(0, null);
    else this.look(this.last, [low, high]);
  }

  look(last, fixed) {
    [this.last, this.fixed] = [last, fixed];
    choose("last", last ? String(last) : null, true);
    choose("epochs", fixed ? fixed.join("-") : null, true);
    this.changed();
    this.reload();
  }

  /** Makes the range `factor` times as wide, around the epoch `around` or around its middle. */
  zoom(factor, around = null) {
    const [from, to] = this.span();
    const middle = around ?? (from + to) / 2;
    this.show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  }

  move(part) {
    const [from, to] = this.span();
    const by = Math.round((to - from) * part);
    const room = Math.max(1 - from, Math.min(by, this.newest - to));
    if (room) this.show(from + room, to + room);
  }

  /** Returns the query for the epochs and numbers that are shown. */
  query() {
    let query = `points=${POINTS}&meters=${[...new Set([...this.wanted, "samples"])].join(",")}`;
    if (this.fixed) query += `&from=${this.fixed[0]}&to=${this.fixed[1]}`;
    else if (this.last && this.newest) query += `&from=${Math.max(1, this.newest - this.last + 1)}`;
    return query;
  }

  async load() {
    if (!this.wanted.length) return;
    const asked = JSON.stringify([this.fixed, this.last]);
    let answer;
    try {
      answer = await get(`/history.json?${this.query()}`);
    } catch {
      return; // the connection's banner reports it
    }
    if (asked !== JSON.stringify([this.fixed, this.last])) return; // the user zoomed meanwhile
    if (!this.fixed && !this.last && answer.length) this.first = answer[0].first_epoch;
    const before = this.points;
    this.points = Points.of(this.wanted, answer);
    // An epoch may have ended while the answer came.
    const known = this.points.epochs.at(-1) ?? 0;
    if (!this.fixed && this.report && this.report.epoch > known && before.epochs.at(-1) === this.report.epoch) {
      this.push(this.report);
    }
    if (!this.fixed) this.newest = Math.max(this.newest, this.points.epochs.at(-1) ?? 0);
    this.changed();
  }

  push(report) {
    this.points.push(report.epoch, report.ended_ms, report, report, report);
  }

  /** Adds the report of a finished epoch. */
  add(report) {
    const before = this.newest;
    this.newest = report.epoch;
    this.report = report;
    if (this.fixed) return;
    const known = this.points.epochs.at(-1) ?? 0;
    if (report.epoch > known) this.push(report);
    // Reload after missed epochs, after a job went back to its checkpoint, and at too many points.
    const gap = before && report.epoch !== before + 1 && report.epoch !== before;
    if (gap || report.epoch < known || this.points.epochs.length > MOST_POINTS) this.reload();
    this.changed();
  }
}
