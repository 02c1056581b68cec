// One chart: a number or several over epochs, samples or time, with marks, the values under the pointer and a table.

import { byId, make } from "./dom.js";
import * as format from "./format.js";
import { helped } from "./help.js";
import { arrays, colour, drawn } from "./lines.js";
import { COLOURS, drawMarks } from "./marks.js";

const HEIGHT = 170;
const TABLE_ROWS = 30;
const AXES = { epoch: "epoch", samples: "samples", time: "wall time" };

export class Chart {
  /** `numbers`: the meters, each with the names of its interval's `ends`. `from`: series, marks and other run. `foot`: what
   *  stands beside the table. `remove`: takes a number out. */
  constructor(numbers, group, from, foot, remove) {
    this.numbers = numbers;
    Object.assign(this, from);
    this.place = make("div", { class: "canvas" });
    this.table = make("div", { class: "scroll", tabindex: 0, role: "region" });
    this.details = make("details", { ontoggle: () => this.tell() }, make("summary", {}, "As a table"), this.table);
    const words = numbers.map((number) => number.label).join(", ");
    this.table.setAttribute("aria-label", `Table: ${words}`);
    this.readouts = numbers.map(() => make("span", { class: "readout" }));
    this.when = make("span", { class: "when muted" });
    const item = (number, at) => make("li", {},
      numbers.length > 1 ? make("i", { class: `swatch line-${at}` }) : null,
      make("b", {}, number.label), this.readouts[at],
      numbers.length > 1
        ? make("button", { type: "button", class: "bare", "aria-label": `Take ${number.label} out of this chart`, onclick: () => remove(number) }, "×")
        : null);
    const info = helped(words, ...numbers.map((number) => (numbers.length > 1 ? [number.label, number.help] : number.help)));
    const caption = make("figcaption", {}, make("small", {}, group, this.when), info, make("ul", { class: "numbers" }, ...numbers.map(item)));
    this.plot = make("div", { class: "plot", tabindex: 0, role: "group", "aria-label": `Chart: ${words}` }, this.place);
    this.figure = make("figure", { class: "panel", "data-meter": numbers[0].name }, caption, this.plot, make("div", { class: "foot" }, this.details, foot));
    this.keys();
    this.size = new ResizeObserver(() => this.resize());
    this.size.observe(this.place);
  }

  keys() {
    const actions = {
      ArrowLeft: () => this.series.move(-0.25),
      ArrowRight: () => this.series.move(0.25),
      "+": () => this.series.zoom(0.5),
      "=": () => this.series.zoom(0.5),
      "-": () => this.series.zoom(2),
      0: () => this.series.follow(0),
    };
    this.plot.addEventListener("keydown", (event) => {
      const action = actions[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action();
    });
    const wheel = (event) => {
      if (document.activeElement !== this.plot || !this.uplot) return; // the page scrolls
      event.preventDefault();
      const left = event.clientX - this.uplot.over.getBoundingClientRect().left;
      this.series.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.epochAt(left));
    };
    this.plot.addEventListener("wheel", wheel, { passive: false });
    this.plot.addEventListener("mousedown", () => this.plot.focus({ preventScroll: true }));
  }

  get points() {
    return this.series.points;
  }

  get axis() {
    return byId("axis").value;
  }

  draw() {
    if (!this.place.clientWidth) return;
    const data = arrays(this.numbers, this.points, this.other, this.axis, Number(byId("smoothing").value));
    if (!this.uplot) this.uplot = new uPlot(this.options(), data, this.place);
    else this.uplot.setData(data, false);
    const [from, to] = this.span();
    this.uplot.setScale("x", { min: from, max: to > from ? to : from + 1 });
    this.read();
    this.tell();
  }

  /** Returns the ends of the x axis. */
  span() {
    const [from, to] = this.series.span();
    const xs = this.points.across(this.axis);
    const ends = xs === this.points.epochs || !xs.length ? [from, to] : [xs[this.points.at(from)], xs[this.points.at(to)]];
    // A run that is longer is seen whole.
    const whole = this.other.points && !this.series.fixed && !this.series.last;
    return whole ? [ends[0], Math.max(ends[1], this.other.across(this.axis, this.points).at(-1))] : ends;
  }

  options() {
    const time = this.axis === "time";
    const below = this.axis === "samples" ? (_, at) => at.map((v) => format.short({}, v))
      : time ? undefined : (_, at) => at.map((v) => (Number.isInteger(v) ? format.whole(v) : ""));
    const [ink, line] = ["--muted", "--line"].map(colour);
    const paints = this.numbers.map((_, at) => colour(`--line-${at}`));
    const signs = Object.fromEntries(Object.entries(COLOURS).map(([kind, name]) => [kind, colour(name)]));
    const font = "11px system-ui, sans-serif";
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    // Numbers of a second unit have a scale of their own, on the right.
    const units = [...new Set(this.numbers.map((number) => number.unit))].slice(0, 2);
    const scaleOf = (unit) => (unit === units[0] ? "y" : "y2");
    const first = (unit) => this.numbers.find((number) => number.unit === unit);
    const upright = units.map((unit, at) => ({
      ...axis, scale: scaleOf(unit), side: at ? 1 : 3, size: 48, gap: 4, ...(at ? { grid: { show: false } } : {}),
      values: (_, all, __, ___, step) => all.map((v) => format.mark(first(unit), v, step)),
    }));
    const scales = Object.fromEntries(units.map((unit) => [scaleOf(unit), { range: range(unit === "share") }]));
    const { series, bands } = drawn(this.numbers, this.numbers.map((number) => scaleOf(number.unit)), paints);
    return {
      width: this.place.clientWidth,
      height: HEIGHT,
      padding: [8, units.length > 1 ? 0 : 8, 0, 0],
      legend: { show: false },
      scales: { x: { time }, ...scales },
      axes: [
        { ...axis, size: time ? 34 : 22, gap: 2, label: AXES[this.axis], labelSize: 16, labelGap: 0, labelFont: font, ...(below ? { values: below } : {}) },
        ...upright,
      ],
      series,
      bands,
      cursor: { y: false, sync: { key: "epochs" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      hooks: {
        drawAxes: [(plot) => drawMarks(plot, this.marks.shown(), (epoch) => this.placeOf(epoch), signs)],
        setCursor: [() => this.read()],
        setSelect: [(plot) => this.zoomed(plot)],
      },
    };
  }

  /** Returns the x of an epoch, if it is among the points. */
  placeOf(epoch) {
    const xs = this.points.across(this.axis);
    if (xs === this.points.epochs) return epoch;
    return xs[this.points.at(epoch)] ?? null;
  }

  /** Returns the epoch at a place of the drawing. */
  epochAt(left) {
    return this.points.epochs[this.points.nearest(this.axis, this.uplot.posToVal(left, "x"))];
  }

  /** uPlot calls this for every chart on a selection; only the first call counts, before any chart moves. */
  zoomed(plot) {
    const { left, width } = plot.select;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (width < 6 || this.series.zooming) return;
    const ends = [left, left + width].map((at) => this.epochAt(at));
    this.series.zooming = setTimeout(() => {
      this.series.zooming = null;
      this.series.show(...ends);
    });
  }

  /** Shows the values under the pointer, or the newest. */
  read() {
    const { left } = this.uplot?.cursor ?? {};
    const under = left >= 0 && this.points.epochs.length ? this.points.nearest(this.axis, this.uplot.posToVal(left, "x")) : null;
    this.numbers.forEach((number, which) => {
      const { mean, low, high } = this.points.column(number.name, number.ends);
      const at = under ?? mean.findLastIndex((value) => value !== null);
      let text = format.value(number, mean[at] ?? null);
      if (mean[at] != null && low[at] != null && high[at] != null && low[at] !== high[at]) {
        text += ` (${format.short(number, low[at])} to ${format.short(number, high[at])})`;
      }
      if (this.readouts[which].textContent !== text) this.readouts[which].textContent = text;
    });
    const when = under === null ? "" : `, epoch ${format.whole(this.points.epochs[under])}`;
    if (this.when.textContent !== when) this.when.textContent = when;
  }

  /** Fills the table with the chart's values. */
  tell() {
    if (!this.details.open) return;
    const [from, to] = this.series.span();
    const alone = this.numbers.length === 1;
    const columns = this.numbers.flatMap((number) => {
      const { mean, low, high } = this.points.column(number.name, number.ends);
      const parts = alone ? [["Mean", mean], ["Lowest", low], ["Highest", high]] : [[number.label, mean]];
      return parts.map(([head, values]) => ({ head, cell: (at) => format.value(number, values[at]) }));
    });
    const shown = this.points.epochs.map((epoch, at) => [epoch, at]).filter(([epoch]) => epoch >= from && epoch <= to);
    const step = Math.max(1, Math.ceil(shown.length / TABLE_ROWS));
    const rows = shown.reverse().filter((_, at) => at % step === 0);
    const heads = ["Epoch", ...columns.map((column) => column.head)].map((head) => make("th", { scope: "col" }, head));
    const row = ([epoch, at]) => make("tr", {}, make("th", { scope: "row" }, format.whole(epoch)), ...columns.map((column) => make("td", {}, column.cell(at))));
    const caption = make("caption", { class: "hidden" }, this.table.getAttribute("aria-label"));
    this.table.replaceChildren(make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows.map(row))));
  }

  resize() {
    if (this.uplot && this.place.clientWidth) this.uplot.setSize({ width: this.place.clientWidth, height: HEIGHT });
    else this.draw();
  }

  recolour() {
    this.uplot?.destroy();
    this.uplot = null;
    this.draw();
  }

  end() {
    this.size.disconnect();
    this.uplot?.destroy();
  }
}

/** Returns the range of a y axis: a little more than the values have, and for fractions not beyond 0 and 1. */
function range(share) {
  return (_, low, high) => {
    if (low === null) return [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    const [from, to] = [low - room, high + room];
    if (share) return [Math.max(0, from), Math.min(1, to) > Math.max(0, from) ? Math.min(1, to) : 1];
    return [low >= 0 ? Math.max(0, from) : from, to];
  };
}
