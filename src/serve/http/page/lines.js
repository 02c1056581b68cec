// What a chart draws: the arrays of its numbers, smoothed, with those of another run; and their colours.

import { byId } from "./dom.js";

/** Most numbers in a chart: each has a colour. */
export const MOST = 7;
/** Arrays of each number: line, ends of its band, and the line before smoothing. */
const PARTS = 4;

/** Returns the arrays for uPlot: x, those of each number, and a line of each number in the other run. */
export function arrays(numbers, own, other, axis, weight) {
  const columns = numbers.map(({ name, ends }) => own.column(name, ends));
  const none = own.epochs.map(() => null);
  const of = ({ mean, low, high }) => [smooth(mean, weight), low, high, weight && numbers.length === 1 ? mean : none];
  const table = [own.across(axis), ...columns.flatMap(of)];
  if (!other.points) return [...table, ...numbers.map(() => none)];
  const lines = numbers.map(({ name }) => smooth(other.points.column(name, []).mean, weight));
  return uPlot.join([table, [other.across(axis, own), ...lines]]);
}

/** Returns uPlot's series for these arrays, and the bands between them. */
export function drawn(numbers, scales, paints) {
  const edge = (scale) => ({ scale, stroke: "transparent", width: 0, points: { show: false } });
  const few = (plot, at) => plot.data[at].filter((y) => y != null).length < 2;
  const line = (scale, stroke, more = {}) => (
    { scale, stroke, width: 1.75, spanGaps: true, points: { show: few, size: 5 }, ...more });
  const own = numbers.flatMap((_, at) => [
    line(scales[at], paints[at]), edge(scales[at]), edge(scales[at]),
    line(scales[at], faint(paints[at]), { width: 1.5, points: { show: false } }),
  ]);
  const other = numbers.map((_, at) => line(scales[at], paints[at], { width: 1.5, dash: [5, 4], points: { show: false } }));
  const bands = numbers.map((_, at) => ({ series: [PARTS * at + 3, PARTS * at + 2], fill: faint(paints[at]) }));
  return { series: [{}, ...own, ...other], bands };
}

/** Returns a moving average in which each number before counts `weight` of the one after it, without its bias. */
function smooth(numbers, weight) {
  if (!weight) return numbers;
  let [sum, all] = [0, 0];
  return numbers.map((number) => {
    if (number === null) return null;
    [sum, all] = [weight * sum + number, weight * all + 1];
    return sum / all;
  });
}

/** Returns a colour of the style sheet in the form that a canvas needs. Each question makes the browser lay out the page. */
export function colour(name) {
  const probe = byId("charts");
  probe.style.caretColor = `var(${name})`;
  const found = getComputedStyle(probe).caretColor;
  probe.style.caretColor = "";
  return found;
}

const faint = (paint) => paint.replace(/^rgb\((.*)\)$/, "rgba($1, 0.2)");
