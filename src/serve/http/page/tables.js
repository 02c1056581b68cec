// Tables of named things (classes, operators, ...), with the columns given by /meters.json.

import { make } from "./dom.js";
import * as format from "./format.js";

export class Table {
  /** Fills `place` with a table of `meters`; `first` is the heading of the names. */
  constructor(place, first, meters, caption) {
    [this.place, this.meters] = [place, meters];
    [this.by, this.up] = [null, false];
    this.body = make("tbody");
    this.heads = [{ name: "name", label: first }, ...meters.map((meter) => (meter))];
    this.cells = this.heads.map((head) => this.head(head));
    const top = make("thead", {}, make("tr", {}, ...this.cells));
    this.table = make("table", {}, make("caption", { class: "hidden" }, caption), top, this.body);
    const columns = meters.map((meter) => [make("dt", {}, meter.label), make("dd", {}, meter.help)]).flat();
    const help = make("details", { class: "columns" }, make("summary", {}, "What the columns say"), make("dl", {}, ...columns));
    place.replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, this.table), help);
    this.rows = [];
  }

  head(head) {
    const sort = () => {
      // Clicks sort in turn: largest first, smallest first, original order.
      if (this.by !== head.name) [this.by, this.up] = [head.name, false];
      else if (!this.up) this.up = true;
      else this.by = null;
      this.draw();
    };
    const button = make("button", { type: "button", class: "sort", onclick: sort }, head.label);
    return make("th", { scope: "col", "data-column": head.name }, button);
  }

  show(rows) {
    this.rows = rows;
    this.draw();
  }

  draw() {
    this.cells.forEach((cell, at) => {
      const order = this.heads[at].name === this.by ? (this.up ? "ascending" : "descending") : "none";
      cell.setAttribute("aria-sort", order);
    });
    // A column without any value is hidden.
    const known = (name) => name === "name" || !this.rows.length || this.rows.some((row) => row[name] != null);
    this.cells.forEach((cell, at) => { cell.hidden = !known(this.heads[at].name); });
    const shown = this.meters.filter((meter) => known(meter.name));
    const row = (one) => {
      const cells = shown.map((meter) => {
        const number = one[meter.name];
        const bar = meter.unit === "share" && number != null ? make("i", { class: "bar", "width%": number }) : null;
        return make("td", {}, format.value(meter, number), bar);
      });
      return make("tr", {}, make("th", { scope: "row" }, one.name), ...cells);
    };
    const rows = this.sorted().map(row);
    const none = make("tr", {}, make("td", { colspan: this.heads.length, class: "muted none" }, "none"));
    this.body.replaceChildren(...(rows.length ? rows : [none]));
  }

  sorted() {
    if (this.by === null) return this.rows;
    const key = (row) => (this.by === "name" ? row.name : (row[this.by] ?? -Infinity));
    const way = this.up ? 1 : -1;
    const order = (a, b) => way * (typeof a === "string" ? -a.localeCompare(b, "en", { numeric: true }) : a - b);
    return [...this.rows].sort((a, b) => order(key(a), key(b)));
  }
}
