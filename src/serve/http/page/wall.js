// Thumbnails of samples: accepted by the filter, rejected, and those whose predicted class is not
// their label.

import { get } from "./api.js";
import { byId, make, seldom } from "./dom.js";

const TABS = { accepted: "Accepted", rejected: "Rejected", disagreeing: "Disagreeing" };

export class Wall {
  constructor(classes) {
    this.classes = classes;
    this.wall = {};
    this.chosen = "accepted";
    this.tabs = Object.entries(TABS).map(([name, words]) => this.tab(name, words));
    byId("wall-tabs").replaceChildren(...this.tabs);
    byId("samples").hidden = byId("to-samples").hidden = false;
    this.load = seldom(4000, () => this.fetch());
    // Loads only while the section is in view.
    this.seen = false;
    const sight = new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      if (this.seen) this.load();
    }, { rootMargin: "300px" });
    sight.observe(byId("samples"));
    this.choose("accepted");
  }

  tab(name, words) {
    const tab = make("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "wall", "data-tab": name }, words);
    tab.addEventListener("click", () => this.choose(name));
    tab.addEventListener("keydown", (event) => {
      const names = Object.keys(TABS);
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const next = names[(names.indexOf(name) + by + names.length) % names.length];
      this.choose(next);
      byId(`tab-${next}`).focus();
    });
    return tab;
  }

  choose(name) {
    this.chosen = name;
    for (const tab of this.tabs) {
      const is = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", is);
      tab.tabIndex = is ? 0 : -1;
    }
    byId("wall").setAttribute("aria-labelledby", `tab-${name}`);
    this.draw();
  }

  changed() {
    if (this.seen && !document.hidden) this.load();
  }

  async fetch() {
    try {
      this.wall = await get("/wall.json");
    } catch {
      return; // the connection's banner reports it
    }
    this.draw();
  }

  draw() {
    for (const tab of this.tabs) {
      const count = this.wall[tab.dataset.tab]?.length ?? 0;
      tab.textContent = `${TABS[tab.dataset.tab]} (${count})`;
    }
    const shown = this.wall[this.chosen] ?? [];
    const none = make("p", { class: "muted" }, "None yet.");
    byId("wall").replaceChildren(shown.length ? make("ul", { class: "wall" }, ...shown.map((one) => this.figure(one))) : none);
  }

  figure(one) {
    const name = (index) => this.classes[index] ?? String(index);
    const sure = `${Math.round(100 * one.confidence)} %`;
    const truth = one.truth == null ? "" : `, true class ${name(one.truth)}`;
    const alt = `Sample ${one.id} of epoch ${one.epoch}: pseudo-label ${name(one.given)} (${sure})${truth}`;
    const image = one.image ? make("img", { src: one.image, alt, title: alt }) : make("span", {}, "no image");
    const wrong = one.truth != null && one.truth !== one.given;
    const words = make("span", { "aria-hidden": "true" }, make("b", {}, name(one.given)), ` ${sure}`,
      wrong ? make("em", {}, ` true ${name(one.truth)}`) : null);
    return make("li", { class: wrong ? "wrong" : null }, image, words);
  }
}
