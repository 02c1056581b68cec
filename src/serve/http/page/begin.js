// How a job that is fed begins: what it waits for, the commands that send it samples, and live counts.

import { get, usedToken } from "./api.js";
import { byId, make, say } from "./dom.js";
import * as format from "./format.js";

/** Time in ms between two looks at what has come in. */
const LOOK = 1000;

export class Begin {
  constructor(about) {
    this.about = about;
    this.waiting = true;
    this.reported = false;
    byId("live").hidden = false;
    this.timer = setInterval(() => { if (!document.hidden) this.look(); }, LOOK);
    this.look();
    get("/form.json").then((form) => this.commands(form)).catch(() => {});
  }

  /** Shows the commands while nothing has been learned, and again where the job waits. */
  show(progress, reported) {
    this.reported ||= reported;
    byId("begin").hidden = Boolean(progress?.over) || (this.reported && !progress?.waiting);
    byId("begin-title").textContent = progress?.waiting ? "Waiting for samples" : "The first epoch has begun";
    if (progress?.over) clearInterval(this.timer);
  }

  async look() {
    let live;
    try {
      live = await get("/live.json");
    } catch {
      return; // the connection's banner reports it
    }
    const refused = Object.entries(live.refused ?? {}).filter(([, count]) => count > 0);
    const bytes = live.log_bytes == null ? null : `${format.bytes(live.log_bytes)} of ${format.bytes(live.log_max_bytes)}`;
    const counts = {
      "Samples received": live.received == null ? null : format.whole(live.received),
      "Labels received": live.labels == null ? null : format.whole(live.labels),
      "Steps trained": format.whole(live.trained_steps ?? 0),
      "In the log": bytes,
      Refused: refused.length ? refused.map(([reason, count]) => `${format.whole(count)} ${reason}`).join(", ") : "none",
    };
    const known = Object.entries(counts).filter(([, text]) => text !== null);
    byId("live").replaceChildren(...known.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
  }

  commands(form) {
    const count = form.shape.reduce((all, size) => all * size, 1);
    const base = location.origin;
    const secret = usedToken() ? ' -H "Authorization: Bearer $SLUICEBOX_TOKEN"' : "";
    const what = form.features?.length
      ? `the keys ${form.features.join(", ")}`
      : `${format.whole(count)} values (${form.shape.join(" × ")}, ${form.dtype})`;
    byId("begin-what").textContent = `A sample is a line of JSON with an id and ${what}; a label may come with it or later.`;
    const shown = [];
    if (/kind = "http"/.test(this.about.toml)) {
      shown.push(["curl, one sample", `${this.line(form, count)} | curl${secret} -H 'Content-Type: application/x-ndjson' --data-binary @- ${base}/samples`]);
      shown.push(["Python", this.python(form, count, base)]);
    }
    const tcp = /kind = "tcp"[^[]*?listen = "([^"]+)"/.exec(this.about.toml);
    if (tcp) shown.push(["feed, a file", `sluicebox feed ${tcp[1]} samples.ndjson`]);
    shown.push(["a label, now or later", `sluicebox label ${base} 1=${form.classes[0] ?? "CLASS"}`]);
    byId("commands").replaceChildren(...shown.map(([name, text]) => this.command(name, text)));
  }

  /** Returns a shell command that prints one sample. */
  line(form, count) {
    if (form.features?.length) {
      const keys = form.features.map((key) => `"${key}": 0`).join(", ");
      return `echo '{"${form.id_key ?? "id"}": 1, ${keys}}'`;
    }
    return `printf '{"id": 1, "values": [%s]}\\n' "$(yes 0 | head -n ${count} | paste -sd,)"`;
  }

  python(form, count, base) {
    const values = form.features?.length ? form.features.map((key) => `"${key}": 0`).join(", ") : `"values": [0] * ${count}`;
    const token = usedToken() ? ', "Authorization": "Bearer " + os.environ["SLUICEBOX_TOKEN"]' : "";
    return `import json, ${token ? "os, " : ""}urllib.request
rows = [{"id": i, ${values}} for i in range(1, 101)]
body = "\\n".join(map(json.dumps, rows)).encode()
headers = {"Content-Type": "application/x-ndjson"${token}}
print(urllib.request.urlopen(urllib.request.Request("${base}/samples", body, headers)).read())`;
  }

  command(name, text) {
    const copy = () => navigator.clipboard?.writeText(text).then(() => say("Copied"), () => say("The browser does not allow copying"));
    const button = make("button", { type: "button", onclick: copy, "aria-label": `Copy: ${name}` }, "Copy");
    return make("li", {}, make("h3", {}, name), navigator.clipboard ? button : null, make("pre", { tabindex: 0, "aria-label": name }, text));
  }
}
