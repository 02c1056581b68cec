// Confusions: a matrix where it is readable, otherwise the most frequent errors.

import { byId, make } from "./dom.js";
import * as format from "./format.js";

const MOST_CLASSES = 24;
const MOST_MISTAKES = 30;
const TITLES = {
  stream: "known by the source",
  labels: "late labels",
  "held-out": "held-out samples",
};

export class Confusion {
  constructor(classes) {
    this.classes = classes;
    this.confusions = [];
    this.chosen = null;
    this.told = make("p", { class: "told muted", id: "confusion-told", role: "status" }, "Point at a cell, or move with the arrow keys, to see its samples.");
    for (const id of ["confusion-of", "confusion-show"]) byId(id).addEventListener("change", () => this.draw());
  }

  show(confusions) {
    this.confusions = confusions;
    const names = confusions.map((confusion) => confusion.of);
    const select = byId("confusion-of");
    if ([...select.options].map((option) => option.value).join() !== names.join()) {
      const chosen = select.value;
      select.replaceChildren(...names.map((name) => make("option", { value: name }, TITLES[name] ?? name)));
      if (names.includes(chosen)) select.value = chosen;
    }
    this.draw();
  }

  name(index) {
    return this.classes[index] ?? String(index);
  }

  draw() {
    const confusion = this.confusions.find((one) => one.of === byId("confusion-of").value);
    const cells = confusion?.cells ?? [];
    const share = byId("confusion-show").value === "accepted";
    const place = byId("confusion");
    if (!cells.length) return place.replaceChildren(make("p", { class: "muted" }, "No true classes are known yet."));
    const seen = [...new Set(cells.flatMap((cell) => [cell.truth, cell.given]))].sort((a, b) => a - b);
    const all = this.classes.length <= MOST_CLASSES ? this.classes.map((_, at) => at) : seen;
    const focused = place.contains(document.activeElement);
    place.replaceChildren(all.length <= MOST_CLASSES ? this.matrix(cells, all, share) : this.mistakes(cells));
    if (focused) place.querySelector("[tabindex]")?.focus({ preventScroll: true });
  }

  matrix(cells, all, share) {
    this.shownClasses = all;
    const found = new Map(cells.map((cell) => [`${cell.truth} ${cell.given}`, cell]));
    const sums = new Map();
    for (const cell of cells) sums.set(cell.truth, (sums.get(cell.truth) ?? 0) + cell.samples);
    const place = make("div", { class: "scroll", tabindex: 0, role: "group", "aria-labelledby": "confusion-title", "aria-describedby": "confusion-told" });
    const squares = new Map(); // what chooses a cell
    let shown = null;
    const square = (truth, given) => {
      const cell = found.get(`${truth} ${given}`);
      if (!cell?.samples) return make("td", { class: "empty" }, make("span", { class: "hidden" }, "0"));
      const accepted = cell.accepted / cell.samples;
      const strength = share ? accepted : cell.samples / sums.get(truth);
      const text = share ? `${Math.round(100 * accepted)}` : format.tiny(cell.samples);
      const title = `true class ${this.name(truth)}, given ${this.name(given)}: ${format.whole(cell.samples)}, `
        + `${(100 * accepted).toFixed(1)} % accepted`;
      const choose = () => this.choose(place, [truth, given], title);
      const square = make("td", { class: truth === given ? "right" : "wrong", onclick: choose, onmouseenter: choose }, text);
      if (this.chosen?.join() === [truth, given].join()) shown = [square, title];
      squares.set(`${truth} ${given}`, choose);
      // Between 44 % and 100 %, neither dark nor light text would be readable.
      const full = strength >= 0.8;
      square.style.setProperty("--strength", full ? "100%" : `${Math.round(6 + 48 * strength)}%`);
      if (full) square.classList.add("full");
      return square;
    };
    const head = (index) => make("th", { scope: "col" }, this.name(index));
    const corner = make("th", { scope: "col", class: "corner" }, "true ↓ given →");
    const row = (truth) => make("tr", {}, make("th", { scope: "row" }, this.name(truth)), ...all.map((given) => square(truth, given)));
    const caption = make("caption", { class: "hidden" }, share ? "Accepted samples in per cent, by true and given class" : "Samples by true and given class");
    const table = make("table", { class: "confusion" }, caption, make("thead", {}, make("tr", {}, corner, ...all.map(head))), make("tbody", {}, ...all.map(row)));
    table.style.setProperty("--classes", all.length);
    place.append(table);
    if (shown) this.mark(place, ...shown);
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    place.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      // Goes on to the next cell that has samples.
      let [row, column] = (this.chosen ?? [all[0], all[0]]).map((index) => all.indexOf(index));
      do [row, column] = [row + step[0], column + step[1]];
      while (all[row] !== undefined && all[column] !== undefined && !squares.has(`${all[row]} ${all[column]}`));
      squares.get(`${all[row]} ${all[column]}`)?.();
    });
    return make("div", {}, place, this.told);
  }

  /** Shows what a cell says: for pointer, touch and arrow keys. */
  choose(place, cell, words) {
    this.chosen = cell;
    const row = place.querySelectorAll("tbody tr")[this.shownClasses.indexOf(cell[0])];
    const square = row.querySelectorAll("td")[this.shownClasses.indexOf(cell[1])];
    this.mark(place, square, words);
    if (place.contains(document.activeElement)) square.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  mark(place, square, words) {
    place.querySelector(".chosen")?.classList.remove("chosen");
    square.classList.add("chosen");
    if (this.told.textContent !== words) this.told.textContent = words;
  }

  mistakes(cells) {
    const wrong = cells.filter((cell) => cell.truth !== cell.given).sort((a, b) => b.samples - a.samples);
    const row = (cell) => make("tr", {},
      make("td", {}, this.name(cell.truth)), make("td", {}, this.name(cell.given)),
      make("td", {}, format.whole(cell.samples)),
      make("td", {}, `${((100 * cell.accepted) / cell.samples).toFixed(1)} %`));
    const heads = ["True class", "Given class", "Samples", "Accepted"].map((head) => make("th", { scope: "col" }, head));
    const body = make("tbody", {}, ...wrong.slice(0, MOST_MISTAKES).map(row));
    const caption = make("caption", {}, "Most frequent errors");
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), body);
    return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "confusion-title" }, table);
  }
}
