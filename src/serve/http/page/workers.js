// The table of workers, in jobs that have several. The slowest is who waits least for the others.

import { Table } from "./tables.js";

export class Workers {
  /** Fills the panel `place`, which is hidden where there is one worker. */
  constructor(place, meters) {
    this.place = place;
    this.table = new Table(place.querySelector(".rows"), "worker", meters, "Workers");
  }

  show(rows) {
    this.place.hidden = rows.length < 2;
    const waits = rows.map((row) => row.wait_fraction ?? 1);
    const slowest = waits.indexOf(Math.min(...waits));
    this.table.show(rows.map((row, at) => (at === slowest ? { ...row, name: `${row.name} (slowest)` } : row)));
  }
}
