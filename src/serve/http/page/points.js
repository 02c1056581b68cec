// Points of a history: epochs, times and the columns of numbers, the oldest first.

export class Points {
  constructor(names) {
    this.names = new Set([...names, "samples"]);
    this.epochs = [];
    this.times = []; // end of each epoch in ms
    this.columns = {}; // name → { mean, low, high }
  }

  /** Returns the points in an answer of /history.json. */
  static of(names, answer) {
    const points = new Points(names);
    for (const point of answer) points.push(point.last_epoch, point.ended_ms, point.mean, point.low, point.high);
    return points;
  }

  push(epoch, ended_ms, mean, low, high) {
    this.epochs.push(epoch);
    this.times.push(ended_ms);
    for (const name of this.names) {
      const column = (this.columns[name] ??= { mean: [], low: [], high: [] });
      for (const [part, numbers] of [["mean", mean], ["low", low], ["high", high]]) {
        while (column[part].length < this.epochs.length - 1) column[part].push(null);
        column[part].push(numbers[name] ?? null);
      }
    }
  }

  /** Returns the columns of a number: means, and the ends of its interval or of the range that a point folds. */
  column(name, ends) {
    const none = this.epochs.map(() => null);
    const { mean, low, high } = this.columns[name] ?? { mean: none, low: none, high: none };
    if (ends.length !== 2) return { mean, low, high };
    const [from, to] = ends.map((end) => this.columns[end]?.mean ?? none);
    return { mean, low: from, high: to };
  }

  /** Returns the x of each point on an axis: epochs, samples, or wall time in s. */
  across(axis) {
    if (axis === "time") return this.times.map((ms) => ms / 1000);
    const samples = this.columns.samples?.mean;
    if (axis === "samples" && samples && samples.every((number) => number !== null)) return samples;
    return this.epochs;
  }

  /** Returns the place of the first point that has an epoch; of the last if none has. */
  at(epoch) {
    const at = this.epochs.findIndex((last) => last >= epoch);
    return at < 0 ? this.epochs.length - 1 : at;
  }

  /** Returns the place of the point nearest to `x` on an axis. */
  nearest(axis, x) {
    const xs = this.across(axis);
    return xs.reduce((best, at, place) => (Math.abs(at - x) < Math.abs(xs[best] - x) ? place : best), 0);
  }
}
