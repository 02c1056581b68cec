// Elements from plain data. Text is always text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Creates an element with properties (`class`, `on…`, attributes) and children (elements or text). */
export function make(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Creates an SVG element with properties and children. */
export function draw(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "width%") element.style.width = `${Math.min(100, Math.max(0, 100 * value))}%`;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Announces a text once to screen readers. */
export function say(text) {
  byId("say").textContent = text;
}

/** Returns a function that calls `work`, at most every `pause` ms however often it is called. */
export function seldom(pause, work) {
  let timer = null;
  let asked = false;
  const run = () => {
    asked = false;
    timer = setTimeout(() => {
      timer = null;
      if (asked) run();
    }, pause);
    work();
  };
  return () => {
    if (timer === null) run();
    else asked = true;
  };
}
