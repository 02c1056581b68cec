// The charts: which numbers they show, several of them in one where the user wants that, in the groups of /meters.json.

import { Chart } from "./chart.js";
import { byId, make, say } from "./dom.js";
import { choice, choose } from "./keep.js";
import { MOST } from "./lines.js";

const TITLES = {
  throughput: "Throughput",
  filter: "Filter",
  quality: "Quality",
  learning: "Learning",
  stream: "Stream",
  system: "System",
};
/** Charts shown until the user chooses others, each with the numbers in it. */
const FIRST = [
  ["samples_per_s"], ["student_samples_per_s"], ["idle_fraction"],
  ["accepted_fraction"], ["pseudo_label_precision"], ["ledger_precision"],
  ["accuracy", "network_accuracy"], ["prequential_accuracy_window", "network_prequential_accuracy"], ["calibration_error"],
  ["network_share", "discriminants_share", "random_features_share", "neighbours_share", "rescaled_share", "forest_share", "prior_share"],
  ["labelled_loss", "unlabelled_loss"], ["gradient_norm"],
  ["prior_divergence"], ["resident_memory_mib"],
];

export class Charts {
  /** `from`: the series, marks and other run that charts show. */
  constructor(meters, from) {
    this.from = from;
    this.named = Object.fromEntries(meters.map((meter) => [meter.name, meter]));
    // An interval's ends are drawn around the meter they belong to, not in charts of their own.
    const isEnd = (name) => /_(low|high)$/.test(name) && this.named[name.replace(/_(low|high)$/, "")];
    this.meters = meters.filter((meter) => !isEnd(meter.name));
    this.chosen = this.remembered();
    this.known = new Set();
    this.charts = [];
    this.choosing();
  }

  /** Returns the charts that the user has chosen: `accuracy~network_accuracy,samples_per_s`. */
  remembered() {
    const charts = (choice("charts") ?? "").split(",").map((chart) => chart.split("~").filter((name) => this.named[name]).slice(0, MOST));
    const known = charts.filter((chart) => chart.length);
    return known.length ? known : null;
  }

  /** Returns the numbers of each chart that is shown. */
  shown() {
    if (this.chosen) return this.chosen;
    return FIRST.map((chart) => chart.filter((name) => this.named[name] && this.known.has(name))).filter((chart) => chart.length);
  }

  ends(name) {
    return [`${name}_low`, `${name}_high`].filter((end) => this.named[end]);
  }

  isShown(name) {
    return this.shown().some((chart) => chart.includes(name));
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
    const usual = make("button", { type: "button", onclick: () => this.choose(null) }, "The usual charts");
    byId("chooser").replaceChildren(usual, ...groups);
    if (focused) byId("chooser").querySelector(`[data-meter="${focused}"]`)?.focus();
  }

  box(meter) {
    const box = make("input", { type: "checkbox", "data-meter": meter.name });
    box.checked = this.isShown(meter.name);
    box.addEventListener("change", () => (box.checked ? this.choose([...this.shown(), [meter.name]]) : this.remove(meter.name)));
    const none = this.known.has(meter.name) ? null : make("em", {}, " no value yet");
    const help = make("span", { class: "help" }, meter.help);
    return make("label", { class: "choice" }, box, make("span", {}, make("b", {}, meter.label), none, help));
  }

  /** Shows these charts; null: the usual ones. */
  choose(charts) {
    this.chosen = charts;
    choose("charts", charts ? charts.map((chart) => chart.join("~")).join(",") : null);
    this.choosing();
    this.arrange();
  }

  /** Takes a number out of its charts, or out of one. */
  remove(name, only = null) {
    const without = (chart, at) => (only === null || only === at ? chart.filter((one) => one !== name) : chart);
    this.choose(this.shown().map(without).filter((chart) => chart.length));
  }

  /** Builds the charts that are shown. */
  arrange() {
    for (const chart of this.charts) chart.end();
    this.charts = this.shown().map((names, at) => {
      const numbers = names.map((name) => ({ ...this.named[name], ends: this.ends(name) }));
      const foot = names.length < MOST ? this.adder(names, at) : null;
      return new Chart(numbers, TITLES[numbers[0].group], this.from, foot, (number) => this.remove(number.name, at));
    });
    byId("plots").replaceChildren(...this.charts.map((chart) => chart.figure));
    this.from.series.want([...new Set(this.shown().flat().flatMap((name) => [name, ...this.ends(name)]))]);
  }

  /** Returns a list of the numbers that a chart can take, of at most two units. It is filled when it is used. */
  adder(names, at) {
    const head = make("option", { value: "" }, "+ number");
    const words = names.map((name) => this.named[name].label).join(", ");
    const select = make("select", { class: "add", "aria-label": `Add a number to the chart of ${words}` }, head);
    const fill = () => {
      if (select.options.length > 1) return;
      const units = new Set(names.map((name) => this.named[name].unit));
      const fits = (meter) => !names.includes(meter.name) && this.known.has(meter.name) && (units.size < 2 || units.has(meter.unit));
      const groups = Object.entries(TITLES).map(([group, title]) => {
        const options = this.meters.filter((meter) => meter.group === group && fits(meter));
        return make("optgroup", { label: title }, ...options.map((meter) => make("option", { value: meter.name }, meter.label)));
      });
      select.append(...groups.filter((group) => group.children.length));
    };
    select.addEventListener("focus", fill);
    select.addEventListener("pointerdown", fill);
    select.addEventListener("change", () => {
      if (!select.value) return;
      say(`${this.named[select.value].label} is in the chart of ${words}`);
      this.choose(this.shown().map((chart, place) => (place === at ? [...chart, select.value] : chart)));
    });
    return select;
  }

  draw() {
    for (const chart of this.charts) chart.draw();
  }

  /** Redraws in the colours of another theme. */
  recolour() {
    for (const chart of this.charts) chart.recolour();
  }
}
