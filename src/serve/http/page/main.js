// Assembles the page: the job's description, its reports, and the controls.

import { get, listen, post, Refused, useToken } from "./api.js";
import { Begin } from "./begin.js";
import { Charts } from "./charts.js";
import { Confusion } from "./confusion.js";
import { byId, make, say, seldom } from "./dom.js";
import * as format from "./format.js";
import { Graph, waits } from "./graph.js";
import { choice, choose } from "./keep.js";
import { Marks } from "./marks.js";
import { Other } from "./other.js";
import { Series } from "./series.js";
import { Table } from "./tables.js";
import { Tiles } from "./tiles.js";
import { Verdicts } from "./verdicts.js";
import { Wall } from "./wall.js";
import { Workers } from "./workers.js";

const LINES = 256;
const [SOON, LATE] = [500, 5000];
/** Time in ms after which a hidden page closes its stream: a browser has few connections for all tabs. */
const UNSEEN = 30_000;

const job = { about: null, report: null, progress: null, lines: [], parts: null, stopping: false };
const verdicts = new Verdicts();

// --- Theme

const theme = byId("theme");
theme.value = choice("theme") ?? "auto";
const dark = matchMedia("(prefers-color-scheme: dark)");
function dress() {
  document.documentElement.dataset.theme = theme.value;
  job.parts?.charts.recolour();
}
theme.addEventListener("change", () => {
  choose("theme", theme.value === "auto" ? null : theme.value);
  dress();
});
dark.addEventListener("change", dress);
dress();

// --- The job's description

async function meet() {
  const [about, meters] = await Promise.all([get("/about.json"), get("/meters.json")]);
  const before = job.about;
  job.about = about;
  if (before?.pid !== about.pid) Object.assign(job, { progress: null, stopping: false });
  byId("job").textContent = about.job || "A job";
  byId("what").textContent = [about.method, about.device].filter(Boolean).join(" · ");
  byId("toml").textContent = about.toml;
  const facts = {
    Version: about.version, Machine: about.machine, Device: about.device, ...(about.ended_ms == null ? { Process: about.pid } : {}),
    Started: format.moment(about.started_ms),
    "An epoch": `${format.whole(about.epoch_steps)} steps` + (about.epoch_seconds ? `, or ${about.epoch_seconds} s` : ""),
    Ends: ends(about), ...(about.recommended ? { Recommended: about.recommended } : {}),
    "State folder": about.state ?? "none: nothing is saved",
  };
  const pairs = Object.entries(facts).flatMap(([name, fact]) => [make("dt", {}, name), make("dd", {}, String(fact))]);
  byId("facts").replaceChildren(...pairs);
  byId("checkpoint").title = about.state ? "" : "Nothing is saved: the job runs without --state";
  if (!job.parts) build(about, meters);
}

function ends({ stop_epochs, stop_samples, stop_patience }) {
  const at = [
    stop_epochs && `after epoch ${format.whole(stop_epochs)}`,
    stop_samples && `after ${format.whole(stop_samples)} samples`,
    stop_patience && `after ${format.whole(stop_patience)} epochs without a better accuracy on held-out samples`,
  ].filter(Boolean);
  return [...at, at.length ? "with its stream" : "with its stream, or when it is stopped"].join(", or ");
}

function build(about, meters) {
  const series = new Series(() => drawCharts());
  const marks = new Marks(() => drawCharts());
  const other = new Other(series, () => drawCharts());
  job.parts = {
    series,
    marks,
    begin: about.fed ? new Begin(about) : null,
    other,
    charts: new Charts(meters.job, { series, marks, other }),
    tiles: new Tiles(meters.job),
    graph: new Graph(about.edges, meters.operators),
    operators: new Table(byId("operators"), "operator", meters.operators, "Operators"),
    workers: new Workers(byId("workers"), meters.workers),
    classes: new Table(byId("class-table"), "class", meters.classes, "Each class"),
    sources: new Table(byId("source-table"), "source", meters.sources, "Sources"),
    reasons: new Table(byId("reason-table"), "reason", meters.reasons, "Refusals by reason"),
    confusion: new Confusion(about.classes),
    wall: about.images && about.ended_ms == null ? new Wall(about.classes) : null, // no folder keeps samples to look at
    meters: meters.job,
  };
  for (const id of ["axis", "smoothing"]) {
    const usual = byId(id).options[0].value;
    byId(id).value = choice(id) ?? usual;
    if (!byId(id).value) byId(id).value = usual;
    byId(id).addEventListener("change", () => {
      choose(id, byId(id).value === usual ? null : byId(id).value);
      job.parts.charts.recolour();
    });
  }
  for (const button of document.querySelectorAll("[data-last]")) {
    button.addEventListener("click", () => series.follow(Number(button.dataset.last)));
  }
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => series.zoom(Number(button.dataset.zoom)));
  }
  // The address holds the user's choices, so that parts of the page are not named there.
  for (const link of document.querySelectorAll(".jump a, .skip")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const part = byId(link.hash.slice(1));
      part.tabIndex = -1;
      part.focus({ preventScroll: true });
      part.scrollIntoView();
    });
  }
  addEventListener("hashchange", () => location.hash.includes("=") && location.reload());
}

// --- Reports, progress and log

const drawCharts = seldom(400, () => {
  if (document.hidden || !job.parts) return;
  const { series, charts, other } = job.parts;
  const [from, to] = series.span();
  byId("range").textContent = series.newest ? `epochs ${format.whole(from)} to ${format.whole(to)}` : "no epochs";
  for (const button of document.querySelectorAll("[data-last]")) {
    button.setAttribute("aria-pressed", !series.fixed && series.last === Number(button.dataset.last));
  }
  other.load();
  charts.draw();
});

const drawReport = seldom(900, () => {
  const { report, parts } = job;
  if (!report || document.hidden) return;
  parts.tiles.draw();
  verdicts.of(report.epoch);
  parts.graph.show(report);
  parts.begin?.show(job.progress, true);
  waits(parts.meters, report);
  parts.operators.show(report.operators);
  parts.workers.show(report.workers);
  parts.classes.show(report.classes);
  parts.sources.show(report.sources);
  parts.reasons.show(report.reasons);
  parts.confusion.show(report.confusions);
  parts.wall?.changed();
});

document.addEventListener("visibilitychange", () => {
  drawCharts();
  drawReport();
});

let stream = null; // aborts the event stream
let unseen = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(() => stream?.abort(), UNSEEN);
});

async function seen() {
  while (document.hidden) {
    await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }
}

function reported(report) {
  job.report = report;
  job.parts.tiles.add(report);
  job.parts.series.add(report);
  job.parts.charts.learn(report);
  drawReport();
}

function progressed(progress) {
  const before = job.progress;
  // The answer to a command may be older than the event that the job is over.
  if (before?.over) progress = { ...progress, over: true };
  job.progress = progress;
  const bar = byId("progress");
  [bar.max, bar.value] = [progress.of || 1, progress.done];
  const steps = progress.of ? `, step ${format.whole(progress.done)} of ${format.whole(progress.of)}` : "";
  byId("epoch").textContent = progress.epoch ? `epoch ${format.whole(progress.epoch)}${steps}` : "no epoch yet";
  const state = progress.over || job.about?.ended_ms != null ? "over" : progress.paused ? "paused" : progress.waiting ? "waiting" : "running";
  stand(state, { over: "ended", waiting: "waiting for samples" }[state] ?? state);
  if (state === "over" && job.about?.ended_ms != null) told(shown());
  job.parts?.begin?.show(progress, Boolean(job.report));
  byId("pause").textContent = progress.paused ? "Resume" : "Pause";
  if (before && before.paused !== progress.paused) say(progress.paused ? "The job is paused" : "The job has resumed");
}

function stand(state, words) {
  byId("state").dataset.state = state;
  byId("state-text").textContent = words;
  const name = job.about?.job || "A job";
  const dead = state === "over" || state === "lost";
  const at = dead && job.report ? format.moment(job.report.ended_ms) : "";
  const asOf = at && (state === "over" ? `at ${at}` : `as of ${at}`);
  document.title = state === "running" ? `${name} – Sluicebox` : `${words} ${asOf}: ${name} – Sluicebox`.replace(" : ", ": ");
  document.body.classList.toggle("dead", dead);
  byId("as-of").textContent = asOf;
  verdicts.over = dead;
  const may = ["running", "paused", "waiting"].includes(state);
  for (const id of ["pause", "checkpoint", "stop"]) byId(id).hidden = state === "over";
  byId("pause").disabled = byId("stop").disabled = !may;
  byId("checkpoint").disabled = !may || !job.about?.state;
}

const drawLines = seldom(500, () => {
  const item = (line) => make("li", { "data-level": line.level },
    make("time", { datetime: new Date(line.at_ms).toISOString() }, format.clock(line.at_ms)),
    make("b", {}, line.level), make("span", { class: "muted" }, line.module), make("span", { class: "text" }, line.text));
  byId("lines").replaceChildren(...job.lines.map(item));
  if (!job.lines.length) byId("lines").replaceChildren(make("li", { class: "muted" }, "No log lines yet."));
});

function lined(line) {
  job.lines = [line, ...job.lines].slice(0, LINES);
  drawLines();
}

const withoutNulls = (report) => Object.fromEntries(Object.entries(report).filter(([, value]) => value !== null));

// --- The connection

async function catchUp(before) {
  const [newest, lines, all] = await Promise.all(["/report.json", "/lines.json", "/history.json?points=1"].map(get));
  job.lines = lines.reverse();
  drawLines();
  // A job that went on has no report of its own yet; epochs missed meanwhile are in the history too.
  const report = newest ?? (all.length ? await get(`/report.json?epoch=${all[0].last_epoch}`) : null);
  if (report) {
    job.parts.charts.learn({ ...all[0]?.mean, ...withoutNulls(report) });
    await job.parts.tiles.load(report.epoch).catch(() => {});
    reported(report);
  }
  job.parts.marks.load();
  job.parts.other.meet();
  job.parts.series.reload();
  if (isLost) say(before === job.about.pid ? "Connected again" : "Connected to a new run of the job");
  isLost = false;
}

let isLost = false;

function lost(reason) {
  isLost = true;
  const over = job.progress?.over || job.stopping;
  stand(over ? "over" : "lost", over ? "ended" : "not connected");
  told(over ? ended() : `Connection lost: ${reason}. Reconnecting automatically.`);
}

function told(words) {
  const banner = byId("lost");
  if (banner.textContent !== words) banner.textContent = words;
  banner.hidden = false;
}

/** Says what is left of a job that has ended, and how it goes on. */
function ended() {
  const { state } = job.about ?? {};
  const how = job.stopping ? "The job was stopped" : "The job has ended";
  return state
    ? `${how}. It wrote a checkpoint in ${state}: the command that started it goes on from there, and sluicebox serve ${state} shows this page again. Until then it shows the last report.`
    : `${how}. Nothing was saved, as it ran without --state. This page shows its last report.`;
}

/** Says what is shown of a job that does not run. */
function shown() {
  const { state, ended_ms } = job.about;
  const when = ended_ms ? `ended at ${format.moment(ended_ms)}` : "has not finished an epoch";
  return `This job ${when}. The page is read from ${state}; the command that started it goes on from its newest checkpoint.`;
}

function found() {
  byId("lost").hidden = true;
  byId("lost").textContent = "";
}

async function connect() {
  for (let wait = SOON; ; wait = Math.min(LATE, wait * 1.6)) {
    let reason = "the server cannot be reached";
    await seen();
    stream = new AbortController();
    try {
      const before = job.about?.pid;
      verdicts.load(); // first of all: they need nothing else
      await meet();
      await listen(() => {
        wait = SOON / 1.6;
        found();
        catchUp(before).catch(() => {}); // the end of the stream reports the error
      }, (name, content) => ({ report: reported, progress: progressed, line: lined, mark: (mark) => job.parts.marks.add(mark) })[name]?.(content), stream);
      reason = "the server closed the connection";
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        await askForToken(error.message);
        wait = 0;
        continue;
      }
      if (error instanceof Refused) reason = error.message;
      else if (!(error instanceof TypeError) && error.name !== "AbortError") console.error(error);
    }
    if (document.hidden) continue;
    lost(reason);
    await new Promise((done) => setTimeout(done, wait));
  }
}

function askForToken(reason) {
  const dialog = byId("token-dialog");
  if (reason.includes("token is wrong")) byId("token-why").textContent = "The token is wrong. Try again.";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      useToken(byId("token").value.trim());
      byId("token").value = "";
      done();
    }, { once: true });
  });
}

// --- Controls

async function ask(what, done, then = () => {}) {
  try {
    progressed(await post(`/control/${what}`));
    then();
    if (done) say(done);
  } catch (error) {
    told(`The job did not accept the command ${what}: ${error.message}`);
  }
}

byId("pause").addEventListener("click", () => ask(job.progress?.paused ? "resume" : "pause"));
byId("checkpoint").addEventListener("click", () => ask("checkpoint", "The job writes a checkpoint after the next step"));
byId("stop").addEventListener("click", () => {
  byId("stop-what").textContent = job.about?.state
    ? "It finishes its step and writes a checkpoint; the same command resumes from it."
    : "It finishes its step. Nothing is saved: it runs without --state.";
  byId("stop-dialog").returnValue = "no";
  byId("stop-dialog").showModal();
});
byId("stop-dialog").addEventListener("close", () => {
  if (byId("stop-dialog").returnValue === "stop") ask("stop", "The job ends after this step", () => { job.stopping = true; });
});

connect();
