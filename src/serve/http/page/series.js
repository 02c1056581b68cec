// The history in the charts: range of epochs, meters, and epochs finished since it was loaded.

import { get } from "./api.js";
import { seldom } from "./dom.js";

const POINTS = 400;
const MOST_POINTS = 800;

export class Series {
  /** Calls `changed` when the charts must be redrawn. */
  constructor(changed) {
    this.changed = changed;
    this.wanted = [];
    this.last = 0; // number of newest epochs to follow; 0: all
    this.fixed = null; // [from, to] after a zoom; overrides `last`
    this.newest = 0;
    this.zooming = null;
    this.clear();
    this.reload = seldom(1500, () => this.load());
  }

  clear() {
    this.epochs = [];
    this.times = []; // end of each epoch in ms
    this.columns = {}; // name → { mean, low, high }
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
    [this.last, this.fixed] = [last, null];
    this.reload();
  }

  /** Shows epochs `from` to `to`, as far as they exist. */
  show(from, to) {
    const [low, high] = [Math.max(1, Math.round(from)), Math.min(this.newest, Math.round(to))];
    if (high - low < 1) return;
    if (low <= 1 && high >= this.newest) return this.follow(0);
    this.fixed = [low, high];
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

  async load() {
    if (!this.wanted.length) return;
    const asked = JSON.stringify([this.fixed, this.last]);
    let query = `points=${POINTS}&meters=${[...new Set([...this.wanted, "samples"])].join(",")}`;
    if (this.fixed) query += `&from=${this.fixed[0]}&to=${this.fixed[1]}`;
    else if (this.last && this.newest) query += `&from=${Math.max(1, this.newest - this.last + 1)}`;
    let points;
    try {
      points = await get(`/history.json?${query}`);
    } catch {
      return; // the connection's banner reports it
    }
    if (asked !== JSON.stringify([this.fixed, this.last])) return; // the user zoomed meanwhile
    this.clear();
    if (!this.fixed && !this.last && points.length) this.first = points[0].first_epoch;
    for (const point of points) this.push(point.last_epoch, point.ended_ms, point.mean, point.low, point.high);
    if (!this.fixed) this.newest = Math.max(this.newest, this.epochs.at(-1) ?? 0);
    this.changed();
  }

  push(epoch, ended_ms, mean, low, high) {
    this.epochs.push(epoch);
    this.times.push(ended_ms);
    for (const name of new Set([...this.wanted, "samples"])) {
      const column = (this.columns[name] ??= { mean: [], low: [], high: [] });
      for (const [part, numbers] of [["mean", mean], ["low", low], ["high", high]]) {
        while (column[part].length < this.epochs.length - 1) column[part].push(null);
        column[part].push(numbers[name] ?? null);
      }
    }
  }

  /** Returns the x of each point on an axis: epochs, samples, or wall time in s. */
  across(axis) {
    if (axis === "time") return this.times.map((ms) => ms / 1000);
    const samples = this.columns.samples?.mean;
    if (axis === "samples" && samples && samples.every((number) => number !== null)) return samples;
    return this.epochs;
  }

  /** Returns the place in the points of the first that has an epoch; the last if none has. */
  at(epoch) {
    const at = this.epochs.findIndex((last) => last >= epoch);
    return at < 0 ? this.epochs.length - 1 : at;
  }

  /** Adds the report of a finished epoch. */
  add(report) {
    const before = this.newest;
    this.newest = report.epoch;
    if (this.fixed) return;
    const known = this.epochs.at(-1) ?? 0;
    if (report.epoch > known) this.push(report.epoch, report.ended_ms, report, report, report);
    // Reload after missed epochs, after a job went back to its checkpoint, and at too many points.
    const gap = before && report.epoch !== before + 1 && report.epoch !== before;
    if (gap || report.epoch < known || this.epochs.length > MOST_POINTS) this.reload();
    this.changed();
  }
}
