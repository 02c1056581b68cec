// Drawing of the dataflow, with each operator's fraction of the wall time.

import { byId, draw, make } from "./dom.js";
import * as format from "./format.js";
import { helped } from "./help.js";

const WIDE = 860;
const [LOW, GAP] = [74, 20];
/** Room for edges that skip layers. */
const BESIDE = 34;

export class Graph {
  constructor(edges, meters) {
    [this.edges, this.meters] = [edges, Object.fromEntries(meters.map((meter) => [meter.name, meter]))];
    this.layers = layers(edges);
    this.operators = new Map();
    this.chosen = null;
    this.report = {};
    this.size = new ResizeObserver(() => this.arrange());
    this.size.observe(byId("graph"));
  }

  show(report) {
    const { operators } = report;
    this.report = report;
    this.operators = new Map(operators.map((operator) => [operator.name, operator]));
    // Without known edges the operators stand in a row, so that they are drawn at all.
    if (!this.layers.length) this.layers = operators.map((operator) => [operator.name]);
    this.arrange();
    this.tell();
  }

  arrange() {
    const width = byId("graph").clientWidth;
    if (!width || !this.layers.length) return;
    const focused = document.activeElement?.dataset?.stage;
    byId("graph").replaceChildren(width >= WIDE ? this.across(width) : this.down(width));
    if (focused) byId("graph").querySelector(`[data-stage="${focused}"]`)?.focus();
  }

  /** Draws the layers from left to right; edges that skip layers above, feedback below. */
  across(width) {
    const most = Math.max(...this.layers.map((layer) => layer.length));
    const step = width / this.layers.length;
    const places = new Map();
    const [passing, feeding] = [this.sorted(false), this.sorted(true)];
    const top = 12 + BESIDE * Math.min(passing.length, 2);
    this.layers.forEach((layer, x) => layer.forEach((name, y) => {
      places.set(name, { x: x * step + GAP / 2, y: top + y * (LOW + GAP), width: step - GAP, height: LOW });
    }));
    const bottom = top + most * (LOW + GAP) - GAP;
    const height = bottom + (feeding.length ? 8 + 26 * Math.min(feeding.length, 3) : 4);
    const arcs = [...passing, ...feeding].map(([from, to, back], at) => {
      const [a, b] = [places.get(from), places.get(to)];
      const depth = 22 + 26 * (back ? (at - passing.length) % 3 : at % 2);
      const [x1, x2] = [a.x + a.width / 2, b.x + b.width / 2];
      const [y1, y2] = back ? [a.y + a.height, b.y + b.height] : [a.y, b.y];
      const y = back ? bottom + depth : top - depth + 6;
      const r = Math.sign(x2 - x1) * 8;
      const into = back ? 3 : -3;
      return edge(`M${x1} ${y1}L${x1} ${y + (back ? -8 : 8)}Q${x1} ${y} ${x1 + r} ${y}L${x2 - r} ${y}Q${x2} ${y} ${x2} ${y + (back ? -8 : 8)}L${x2} ${y2 + into}`, back);
    });
    const straight = this.next().map(([from, to]) => {
      const [a, b] = [places.get(from), places.get(to)];
      return edge(`M${a.x + a.width} ${a.y + a.height / 2}L${b.x - 3} ${b.y + b.height / 2}`, false);
    });
    return this.picture(width, height, [...arcs, ...straight], places);
  }

  /** Draws the layers from top to bottom, for phones. */
  down(width) {
    const [left, right, high, gap] = [24, 14 + 14 * Math.min(this.sorted(true).length, 3), 46, 16];
    const places = new Map();
    this.layers.forEach((layer, y) => layer.forEach((name, x) => {
      const room = (width - left - right) / layer.length;
      places.set(name, { x: left + x * room, y: 4 + y * (high + gap), width: room - (layer.length > 1 ? 8 : 0), height: high });
    }));
    const arc = ([from, to, back], at) => {
      const [a, b] = [places.get(from), places.get(to)];
      const [y1, y2] = [a.y + a.height / 2 + (back ? 8 : -8), b.y + b.height / 2 + (back ? -8 : 8)];
      const x = back ? width - right + 12 + 13 * (at % 3) : left - 10 - 8 * (at % 2);
      const [x1, x2] = back ? [a.x + a.width, b.x + b.width + 3] : [a.x, b.x - 3];
      const r = Math.sign(y2 - y1) * 7;
      const side = back ? -7 : 7;
      return edge(`M${x1} ${y1}L${x + side} ${y1}Q${x} ${y1} ${x} ${y1 + r}L${x} ${y2 - r}Q${x} ${y2} ${x + side} ${y2}L${x2} ${y2}`, back);
    };
    const arcs = [...this.sorted(false).map(arc), ...this.sorted(true).map(arc)];
    const straight = this.next().map(([from, to]) => {
      const [a, b] = [places.get(from), places.get(to)];
      return edge(`M${a.x + a.width / 2} ${a.y + a.height}L${b.x + b.width / 2} ${b.y - 3}`, false);
    });
    return this.picture(width, this.layers.length * (high + gap) - gap + 8, [...arcs, ...straight], places);
  }

  layer(name) {
    return this.layers.findIndex((layer) => layer.includes(name));
  }

  /** Returns the edges to the next layer. */
  next() {
    return this.edges.filter(([from, to, back]) => !back && this.layer(to) - this.layer(from) === 1);
  }

  /** Returns feedback edges (`back`) or edges that skip layers, shortest first. */
  sorted(back) {
    const length = ([from, to]) => Math.abs(this.layer(to) - this.layer(from));
    const found = this.edges.filter((edge) => edge[2] === back && (back || length(edge) !== 1));
    return found.sort((a, b) => length(a) - length(b));
  }

  picture(width, height, edges, places) {
    const arrow = draw("path", { d: "M0 0L7 3.5L0 7Z" });
    const marker = draw("marker", { id: "arrow", viewBox: "0 0 7 7", refX: 6, refY: 3.5, markerWidth: 7, markerHeight: 7, orient: "auto" }, arrow);
    const nodes = [...places].map(([name, place]) => this.node(name, place));
    const label = "The dataflow; each stage shows its numbers";
    return draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label }, draw("defs", {}, marker), ...edges, ...nodes);
  }

  node(name, { x, y, width, height }) {
    const operator = this.operators.get(name) ?? {};
    const tall = height > 60;
    const shares = ["busy_fraction", "stage_fraction"].map((key) => operator[key] ?? 0);
    const [track, inset] = [width - 20, 10];
    const bar = (share, kind) => draw("rect", { x: inset, y: height - 13, width: Math.max(0, Math.min(1, share) * track), height: 5, rx: 2, class: kind });
    const rate = operator.samples_per_s == null ? "" : `${this.value("samples_per_s", operator.samples_per_s)}/s`;
    const state = this.state(name);
    // Beside words there is no room for decimals.
    const whole = (share) => `${Math.round(100 * share)} %`;
    const busy = operator.busy_fraction == null ? ""
      : tall && state.words ? whole(operator.busy_fraction) : this.value("busy_fraction", operator.busy_fraction);
    const texts = tall
      ? [text(inset, 20, name, "name"), text(inset, 37, rate, "small"), text(inset, 52, busy, "small")]
      : [text(inset, 20, name, "name"), text(width - inset, 20, [rate, busy].filter(Boolean).join("  ·  "), "small end")];
    const choose = () => {
      this.chosen = this.chosen === name ? null : name;
      this.arrange();
      this.tell();
    };
    const key = (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    };
    if (state.words && tall) texts.push(text(width - inset, 52, state.words, "small end"));
    return draw("g", { transform: `translate(${x} ${y})`, class: `node ${state.load}`, tabindex: 0, role: "button", "data-stage": name,
      "aria-pressed": String(this.chosen === name), onclick: choose, onkeydown: key },
      draw("rect", { width, height, rx: 8, class: "box" }), ...texts,
      draw("rect", { x: inset, y: height - 13, width: track, height: 5, rx: 2, class: "track" }),
      bar(shares[0], "busy"), bar(shares[1], "stage"));
  }

  /** Returns how loaded a stage is: the busiest is the bottleneck, and the source may be held back. */
  state(name) {
    const work = (operator) => operator?.stage_fraction ?? operator?.busy_fraction ?? 0;
    const load = work(this.operators.get(name));
    const most = Math.max(0, ...[...this.operators.values()].map(work));
    if (name === "source" && (this.report.source_wait_fraction ?? 0) >= 0.3) return { load: "warm", words: "no samples" };
    if (name === "source" && (this.report.credit_wait_fraction ?? 0) >= 0.3) return { load: "held", words: "held back" };
    if (load >= 0.3 && load === most) return { load: "hot", words: "busiest" };
    return { load: load >= 0.6 ? "hot" : load >= 0.3 ? "warm" : "calm", words: "" };
  }

  /** Shows the numbers of the chosen stage. */
  tell() {
    const operator = this.operators.get(this.chosen);
    const known = operator ? Object.values(this.meters).filter((meter) => operator[meter.name] != null) : [];
    const rows = known.map((meter) => make("li", {}, make("b", {}, format.value(meter, operator[meter.name])),
      make("span", {}, meter.label), make("span", { class: "help" }, meter.help)));
    const hint = make("p", { class: "hint muted" }, "Choose a stage to see its numbers.");
    byId("stage").replaceChildren(...(operator ? [make("h3", {}, operator.name), make("ul", {}, ...rows)] : [hint]));
  }

  value(key, number) {
    const meter = this.meters[key];
    return meter ? format.value(meter, number) : String(number);
  }
}

function text(x, y, content, kind) {
  return draw("text", { x, y, class: kind }, `${content} `); // the space keeps words apart where they are read out
}

function edge(path, back) {
  return draw("path", { d: path, class: back ? "edge back" : "edge", "marker-end": "url(#arrow)" });
}

/** Puts each operator one layer after the last of its inputs. */
function layers(edges) {
  const names = [...new Set(edges.flatMap(([from, to]) => [from, to]))];
  const depth = new Map(names.map((name) => [name, 0]));
  for (const _ of names) {
    for (const [from, to, back] of edges) {
      if (!back) depth.set(to, Math.min(names.length, Math.max(depth.get(to), depth.get(from) + 1)));
    }
  }
  const found = [];
  for (const name of names) (found[depth.get(name)] ??= []).push(name);
  return found.filter(Boolean);
}

/** Shows the fractions of time that the job waited, as bars. */
export function waits(meters, report) {
  const shown = meters.filter((meter) => meter.group === "throughput" && meter.unit === "share" && report[meter.name] != null);
  const item = (meter) => make("li", {},
    make("span", {}, meter.label, helped(meter.label, meter.help)), make("span", { class: "track" }, make("i", { class: "bar", "width%": report[meter.name] })),
    make("b", {}, format.value(meter, report[meter.name])));
  const open = byId("waits").querySelector(".info[open], .info :focus");
  if (!open) byId("waits").replaceChildren(...shown.map(item)); // who reads goes on reading
}
