// Charts over epochs, one per meter, in the groups of /meters.json. All show the same epochs.

import { byId, make } from "./dom.js";
import * as format from "./format.js";
import { keep, kept } from "./keep.js";
import { COLOURS, drawMarks } from "./marks.js";

const HEIGHT = 150;
const TABLE_ROWS = 30;
const KEY = "sluicebox-charts";
const TITLES = {
  throughput: "Throughput",
  filter: "Filter",
  quality: "Quality",
  learning: "Learning",
  stream: "Stream",
  system: "System",
};
/** Charts shown until the user chooses others. */
const FIRST = [
  "samples_per_s", "student_samples_per_s", "idle_fraction",
  "accepted_fraction", "pseudo_label_precision", "ledger_precision",
  "accuracy", "network_accuracy", "prequential_accuracy_window", "network_prequential_accuracy", "calibration_error",
  "network_share", "discriminants_share", "random_features_share", "neighbours_share", "rescaled_share", "forest_share", "prior_share",
  "labelled_loss", "unlabelled_loss", "gradient_norm",
  "prior_divergence", "resident_memory_mib",
];

export class Charts {
  constructor(meters, series, marks) {
    [this.series, this.marks] = [series, marks];
    this.named = Object.fromEntries(meters.map((meter) => [meter.name, meter]));
    // An interval's ends are drawn around the meter they belong to, not in charts of their own.
    const isEnd = (name) => /_(low|high)$/.test(name) && this.named[name.replace(/_(low|high)$/, "")];
    this.meters = meters.filter((meter) => !isEnd(meter.name));
    this.chosen = this.remembered() ?? null;
    this.known = new Set();
    this.charts = new Map();
    this.choosing();
  }

  remembered() {
    try {
      const names = JSON.parse(kept(KEY));
      return Array.isArray(names) ? new Set(names.filter((name) => this.named[name])) : null;
    } catch {
      return null;
    }
  }

  /** Returns the names of the meters to request from the history. */
  wanted() {
    const names = this.meters.map((meter) => meter.name).filter((name) => this.isShown(name));
    return names.flatMap((name) => [name, ...this.ends(name)]);
  }

  ends(name) {
    return [`${name}_low`, `${name}_high`].filter((end) => this.named[end]);
  }

  isShown(name) {
    return this.chosen ? this.chosen.has(name) : FIRST.includes(name) && this.known.has(name);
  }

  /** Records which meters have values: the first choice of charts depends on it. */
  learn(report) {
    const before = this.known.size;
    for (const meter of this.meters) if (report[meter.name] != null) this.known.add(meter.name);
    if (this.known.size === before) return;
    this.choosing();
    this.arrange();
  }

  choosing() {
    const groups = Object.entries(TITLES).map(([group, title]) => {
      const boxes = this.meters.filter((meter) => meter.group === group).map((meter) => this.box(meter));
      return make("fieldset", {}, make("legend", {}, title), ...boxes);
    });
    const focused = document.activeElement?.dataset?.meter;
    byId("chooser").replaceChildren(...groups);
    if (focused) byId("chooser").querySelector(`[data-meter="${focused}"]`)?.focus();
  }

  box(meter) {
    const box = make("input", { type: "checkbox", "data-meter": meter.name });
    box.checked = this.isShown(meter.name);
    box.addEventListener("change", () => {
      this.chosen ??= new Set(this.meters.map((one) => one.name).filter((name) => this.isShown(name)));
      if (box.checked) this.chosen.add(meter.name);
      else this.chosen.delete(meter.name);
      keep(KEY, JSON.stringify([...this.chosen]));
      this.arrange();
    });
    const none = this.known.has(meter.name) ? null : make("em", {}, " no value yet");
    const help = make("span", { class: "help" }, meter.help);
    return make("label", { class: "choice" }, box, make("span", {}, make("b", {}, meter.label), none, help));
  }

  /** Builds the charts that are shown, in their groups. */
  arrange() {
    for (const chart of this.charts.values()) chart.end();
    this.charts.clear();
    const figures = Object.entries(TITLES).flatMap(([group, title]) => {
      const shown = this.meters.filter((meter) => meter.group === group && this.isShown(meter.name));
      return shown.map((meter) => {
        const chart = new Chart(meter, this.ends(meter.name), this.series, this.marks, title);
        this.charts.set(meter.name, chart);
        return chart.figure;
      });
    });
    byId("plots").replaceChildren(...figures);
    this.series.want(this.wanted());
  }

  draw() {
    for (const chart of this.charts.values()) chart.draw();
  }

  /** Redraws in the colours of another theme. */
  recolour() {
    for (const chart of this.charts.values()) chart.recolour();
  }
}

/** Returns a colour of the style sheet in the form that a canvas needs. */
function colour(name) {
  const probe = byId("charts");
  probe.style.caretColor = `var(${name})`;
  const found = getComputedStyle(probe).caretColor;
  probe.style.caretColor = "";
  return found;
}

class Chart {
  constructor(meter, ends, series, marks, group) {
    [this.meter, this.ends, this.series, this.marks] = [meter, ends, series, marks];
    this.readout = make("span", { class: "readout" });
    this.place = make("div", { class: "canvas" });
    this.table = make("div", { class: "scroll" });
    this.details = make("details", { ontoggle: () => this.tell() }, make("summary", {}, "As a table"), this.table);
    const words = meter.label;
    const title = make("figcaption", {}, make("small", {}, group), make("b", {}, words), this.readout,
      make("details", { class: "info" }, make("summary", { "aria-label": `What ${words} is` }, "?"), make("p", {}, meter.help)));
    const label = `${words} over epochs. ${meter.help}`;
    this.plot = make("div", { class: "plot", tabindex: 0, role: "group", "aria-label": label }, this.place);
    this.figure = make("figure", { class: "panel", "data-meter": meter.name }, title, this.plot, this.details);
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
      this.series.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.series.epochs[this.uplot.valToIdx(this.uplot.posToVal(left, "x"))]);
    };
    this.plot.addEventListener("wheel", wheel, { passive: false });
    this.plot.addEventListener("mousedown", () => this.plot.focus({ preventScroll: true }));
  }

  /** Returns the columns over epochs: mean, lower end, upper end. */
  columns() {
    const { epochs, columns } = this.series;
    const none = epochs.map(() => null);
    const column = columns[this.meter.name] ?? { mean: none, low: none, high: none };
    const [low, high] = this.ends.length === 2
      ? this.ends.map((end) => columns[end]?.mean ?? none)
      : [column.low, column.high];
    return [epochs, column.mean, low, high];
  }

  /** Returns what is drawn: x, the line, the band's ends, and the line before smoothing. */
  data() {
    const [epochs, mean, low, high] = this.columns();
    const weight = Number(byId("smoothing").value);
    const raw = weight ? mean : epochs.map(() => null);
    return [this.series.across(byId("axis").value), weight ? smooth(mean, weight) : mean, low, high, raw];
  }

  draw() {
    if (!this.place.clientWidth) return;
    if (!this.uplot) this.uplot = new uPlot(this.options(), this.data(), this.place);
    else this.uplot.setData(this.data(), false);
    const [from, to] = this.span();
    this.uplot.setScale("x", { min: from, max: to > from ? to : from + 1 });
    this.read();
    if (this.details.open) this.tell();
  }

  /** Returns the ends of the x axis. */
  span() {
    const [from, to] = this.series.span();
    const axis = byId("axis").value;
    const xs = this.series.across(axis);
    if (xs === this.series.epochs || !xs.length) return [from, to];
    return [xs[this.series.at(from)], xs[this.series.at(to)]];
  }

  options() {
    const axisName = byId("axis").value;
    const words = { epoch: "epoch", samples: "samples", time: "wall time" }[axisName];
    const time = axisName === "time";
    const below = axisName === "samples" ? (_, at) => at.map((v) => format.short({}, v))
      : time ? undefined : (_, at) => at.map((v) => (Number.isInteger(v) ? format.whole(v) : ""));
    const [ink, line, accent, band] = ["--muted", "--line", "--accent", "--band"].map(colour);
    // Asked once: each question makes the browser lay out the page.
    const paints = Object.fromEntries(Object.entries(COLOURS).map(([kind, name]) => [kind, colour(name)]));
    const font = "11px system-ui, sans-serif";
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const share = this.meter.unit === "share";
    const range = (_, low, high) => {
      if (low === null) return [0, 1];
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      const [from, to] = [low - room, high + room];
      if (share) return [Math.max(0, from), Math.min(1, to) > Math.max(0, from) ? Math.min(1, to) : 1];
      return [low >= 0 ? Math.max(0, from) : from, to];
    };
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width: this.place.clientWidth,
      height: HEIGHT,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      scales: { x: { time }, y: { range } },
      axes: [
        { ...axis, size: time ? 34 : 22, gap: 2, label: words, labelSize: 16, labelGap: 0, labelFont: font, ...(below ? { values: below } : {}) },
        { ...axis, size: 48, gap: 4, values: (_, at, __, ___, step) => at.map((v) => format.mark(this.meter, v, step)) },
      ],
      series: [
        {},
        { stroke: accent, width: 1.75, points: { show: (plot) => plot.data[0].length < 2, size: 5 }, spanGaps: true },
        edge,
        edge,
        { stroke: band, width: 1.5, points: { show: false }, spanGaps: true },
      ],
      bands: [{ series: [3, 2], fill: band }],
      cursor: { y: false, sync: { key: "epochs" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      hooks: {
        drawAxes: [(plot) => drawMarks(plot, this.marks.shown(), (epoch) => this.placeOf(epoch), paints)],
        setCursor: [() => this.read()],
        setSelect: [(plot) => this.zoomed(plot)],
      },
    };
  }

  /** Returns the x of an epoch, if it is among the points. */
  placeOf(epoch) {
    const xs = this.series.across(byId("axis").value);
    if (xs === this.series.epochs) return epoch;
    return xs[this.series.at(epoch)] ?? null;
  }

  /** uPlot calls this for every chart on a selection; only the first call counts, before any chart moves. */
  zoomed(plot) {
    const { left, width } = plot.select;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (width < 6 || this.series.zooming) return;
    const ends = [left, left + width].map((at) => this.series.epochs[plot.valToIdx(plot.posToVal(at, "x"))]);
    this.series.zooming = setTimeout(() => {
      this.series.zooming = null;
      this.series.show(...ends);
    });
  }

  /** Shows the value under the pointer, or the newest. */
  read() {
    const [epochs, mean, low, high] = this.columns();
    const under = this.uplot?.cursor.idx;
    const at = under ?? mean.findLastIndex((number) => number !== null);
    const number = mean[at] ?? null;
    let text = format.value(this.meter, number);
    if (number !== null && low[at] !== null && high[at] !== null && low[at] !== high[at]) {
      text += ` (${format.short(this.meter, low[at])} to ${format.short(this.meter, high[at])})`;
    }
    if (under != null && epochs[at]) text = `epoch ${format.whole(epochs[at])}: ${text}`;
    if (this.readout.textContent !== text) this.readout.textContent = text;
  }

  /** Fills the table with the chart's values. */
  tell() {
    if (!this.details.open) return;
    const [epochs, mean, low, high] = this.columns();
    const [from, to] = this.series.span();
    const shown = epochs.map((epoch, at) => [epoch, at]).filter(([epoch]) => epoch >= from && epoch <= to);
    const cells = (at) => [mean, low, high].map((part) => make("td", {}, format.value(this.meter, part[at])));
    const step = Math.max(1, Math.ceil(shown.length / TABLE_ROWS));
    const rows = shown.reverse().filter((_, at) => at % step === 0);
    const heads = ["Epoch", "Mean", "Lowest", "Highest"].map((head) => make("th", { scope: "col" }, head));
    const row = ([epoch, at]) => make("tr", {}, make("th", { scope: "row" }, format.whole(epoch)), ...cells(at));
    const body = make("tbody", {}, ...rows.map(row));
    const caption = make("caption", { class: "hidden" }, `${this.meter.label} over epochs`);
    this.table.replaceChildren(make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), body));
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

/** Returns a moving average in which each number before counts `weight` of the one after it, without its bias. */
function smooth(numbers, weight) {
  let [sum, all] = [0, 0];
  return numbers.map((number) => {
    if (number === null) return null;
    [sum, all] = [weight * sum + number, weight * all + 1];
    return sum / all;
  });
}
