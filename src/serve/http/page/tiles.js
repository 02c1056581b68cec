// The most important meters: present value, recent course, and whether the change is good.

import { get } from "./api.js";
import { byId, draw, make } from "./dom.js";
import * as format from "./format.js";
import { helped } from "./help.js";

const MOST = 8;
const RECENT = 60;
/** Number of previous epochs whose mean a change is measured against. */
const BEFORE = 10;
/** Fewest of them with which a change has a colour. */
const FEWEST = 5;
/** Most important first. */
const FIRST = [
  "samples_per_s", "accuracy", "network_accuracy", "prequential_accuracy_window", "accepted_fraction", "ledger_precision",
  "pseudo_label_precision", "student_samples_per_s", "idle_fraction", "unlabelled_loss",
  "consumer_lag", "labels_known", "dead_letters",
];

export class Tiles {
  constructor(meters) {
    this.meters = FIRST.map((name) => meters.find((meter) => meter.name === name)).filter(Boolean);
    this.reports = [];
    this.tiles = new Map();
  }

  /** Loads the recent epochs up to `newest`. */
  async load(newest) {
    const names = this.meters.map((meter) => meter.name).join(",");
    const from = Math.max(1, newest - RECENT + 1);
    const points = await get(`/history.json?from=${from}&to=${newest}&points=${RECENT}&meters=${names}`);
    this.reports = points.map((point) => ({ epoch: point.last_epoch, ...point.mean }));
  }

  add(report) {
    if (report.epoch <= (this.reports.at(-1)?.epoch ?? 0)) {
      this.reports = this.reports.filter((old) => old.epoch < report.epoch);
    }
    this.reports.push(report);
    this.reports = this.reports.slice(-RECENT);
  }

  draw() {
    const newest = this.reports.at(-1);
    if (!newest) return;
    const last = (meter) => this.reports.findLast((report) => report[meter.name] != null)?.[meter.name];
    const shown = this.meters.filter((meter) => last(meter) !== undefined).slice(0, MOST);
    const tiles = shown.map((meter) => {
      const tile = this.tiles.get(meter.name) ?? this.tile(meter);
      tile.value.textContent = format.value(meter, last(meter));
      const known = this.reports.findLast((report) => report[meter.name] != null);
      const ago = newest.epoch - known.epoch;
      const change = ago ? { text: ago === 1 ? "1 epoch ago" : `${format.whole(ago)} epochs ago`, better: "same" } : this.change(meter);
      tile.change.textContent = change.text;
      tile.change.dataset.better = change.better;
      tile.line.setAttribute("d", this.path(meter));
      return tile.item;
    });
    const list = byId("tiles");
    if (tiles.length !== list.children.length || tiles.some((tile, at) => tile !== list.children[at])) {
      list.replaceChildren(...tiles);
    }
  }

  tile(meter) {
    const value = make("span", { class: "value" });
    const change = make("span", { class: "change" });
    const line = draw("path", { "vector-effect": "non-scaling-stroke" });
    const spark = draw("svg", { viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
    const name = make("span", { class: "name" }, meter.label, helped(meter.label, meter.help));
    const item = make("li", { class: "tile panel", "data-meter": meter.name }, name, value, change, spark);
    const tile = { item, value, change, line };
    this.tiles.set(meter.name, tile);
    return tile;
  }

  /** Returns the change against the previous epochs, in words, so that colour is not the only sign. */
  change(meter) {
    const values = this.reports.map((report) => report[meter.name]).filter((number) => number != null);
    const now = values.pop();
    const before = values.slice(-BEFORE);
    if (!before.length) return { text: " ", better: "same" };
    const mean = before.reduce((sum, number) => sum + number, 0) / before.length;
    const by = now - mean;
    const part = meter.unit === "share" ? by : by / Math.max(Math.abs(mean), 1e-12);
    const spread = 2 * Math.sqrt(before.reduce((sum, number) => sum + (number - mean) ** 2, 0) / Math.max(1, before.length - 1));
    const usual = before.length < FEWEST || Math.abs(by) <= Math.max(spread, 0.005 * Math.abs(mean));
    if (Math.abs(part) < 0.0005) return { text: "steady", better: "same" };
    const size = meter.unit === "share" ? `${(100 * Math.abs(by)).toFixed(1)} points` : `${(100 * Math.abs(part)).toFixed(1)} %`;
    const arrow = by > 0 ? "▲" : "▼";
    if (usual) return { text: `${arrow} ${size}`, better: "same" };
    if (meter.better === "neither") return { text: `${arrow} ${size}`, better: "same" };
    const better = (by > 0) === (meter.better === "higher");
    return { text: `${arrow} ${size} ${better ? "better" : "worse"}`, better };
  }

  path(meter) {
    const points = this.reports.map((report, at) => [at, report[meter.name]]).filter(([, y]) => y != null);
    if (points.length < 2) return "";
    const ys = points.map(([, y]) => y);
    const [low, high] = [Math.min(...ys), Math.max(...ys)];
    const last = this.reports.length - 1;
    const place = ([x, y]) => `${((100 * x) / last).toFixed(2)} ${(26 - (24 * (y - low)) / (high - low || 1)).toFixed(2)}`;
    return `M${points.map(place).join("L")}`;
  }
}
