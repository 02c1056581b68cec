// Help that is opened by pointer, touch and keyboard.

import { make } from "./dom.js";

/** Returns a button that opens what a thing of that name is: texts, or pairs of a name and a text. */
export function helped(name, ...texts) {
  const paragraph = (text) => (Array.isArray(text) ? make("p", {}, make("b", {}, `${text[0]}: `), text[1]) : make("p", {}, text));
  const info = make("details", { class: "info" },
    make("summary", { "aria-label": `What ${name} is` }, "?"), make("div", {}, ...texts.map(paragraph)));
  info.addEventListener("toggle", () => {
    if (!info.open) return;
    for (const other of document.querySelectorAll(".info[open]")) if (other !== info) other.open = false;
  });
  info.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !info.open) return;
    info.open = false;
    info.firstChild.focus();
  });
  return info;
}
