// Formats of numbers and times.

const NUMBER = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: true });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const TINY = new Intl.NumberFormat("en", { maximumSignificantDigits: 2, notation: "compact" });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const MISSING = "–";

const UNITS = {
  seconds: " s",
  microseconds: " µs",
  mebibytes: " MiB",
  nats: " nats",
};

/** Returns a value with its unit, unless the name contains the unit. */
export function value(meter, number) {
  if (number === null || number === undefined) return MISSING;
  if (meter.unit === "share") {
    // Near 0 and 1 small differences matter: one more decimal.
    const near = (number > 0 && number < 0.01) || (number < 1 && number > 0.99);
    return `${(100 * number).toFixed(near ? 2 : 1)} %`;
  }
  if (meter.unit === "flag") return number ? "yes" : "no";
  return plain(meter, number) + (UNITS[meter.unit] ?? "");
}

/** Returns a value in short form, as on an axis. */
export function short(meter, number) {
  if (number === null || number === undefined) return MISSING;
  if (meter.unit === "share") return `${+(100 * number).toFixed(2)}%`;
  if (number !== 0 && Math.abs(number) < 0.001) return number.toExponential(0);
  return SHORT.format(number);
}

/** Returns the value of a tick, on an axis whose ticks are `step` apart. */
export function mark(meter, number, step) {
  if (meter.unit !== "share") return short(meter, number);
  const digits = Math.max(0, -Math.floor(Math.log10(100 * step) + 1e-9));
  return `${(100 * number).toFixed(Math.min(4, digits))}%`;
}

function plain(meter, number) {
  if (meter.unit === "count" || meter.unit === "samples") {
    return Number.isInteger(number) || number >= 1000 ? WHOLE.format(number) : NUMBER.format(number);
  }
  if (number !== 0 && Math.abs(number) < 0.001) return number.toExponential(2);
  return Math.abs(number) >= 1000 ? WHOLE.format(number) : NUMBER.format(number);
}

/** Returns a count in short form, for tables with many cells. */
export const tiny = (number) => (number < 1000 ? String(number) : TINY.format(number));
export const whole = (number) => WHOLE.format(number);

/** Returns a number of bytes. */
export function bytes(number) {
  const at = number < 1 ? 0 : Math.min(3, Math.floor(Math.log2(number) / 10));
  return `${NUMBER.format(number / 2 ** (10 * at))} ${["bytes", "KiB", "MiB", "GiB"][at]}`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");
export const moment = (ms) => (ms ? new Date(ms).toLocaleString("en-GB") : MISSING);
