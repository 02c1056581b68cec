//! The page in a real browser: what it shows, how soon, and its use without a mouse, on a phone and
//! in both themes.

use crate::browser::Browser;
use crate::showing::{about, rig, rig_of};
use crate::support;
use serde_json::{Value, json};
use sluicebox::serve::http::Limits;
use sluicebox_core::report::{About, MarkKind};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const NONE: [String; 0] = [];

#[test]
fn the_page_shows_what_the_job_says() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    (1..=20).for_each(|epoch| rig.shown.epoch(epoch));
    rig.shown.line("it <i>says</i> this");
    browser.resize(1280, 900);
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelectorAll('#tiles li').length === 8");
    browser.until("document.querySelector('#range').textContent === 'epochs 1 to 20'");
    browser.until("document.querySelectorAll('#plots canvas').length >= 12");
    browser.until("document.querySelectorAll('#graph .node').length === 9");
    browser.until("document.querySelectorAll('#graph .edge').length === 11");
    browser.until("document.querySelectorAll('#verdicts li').length === 5");
    browser.until("document.querySelectorAll('#confusion .right').length === 10");
    browser.until("document.querySelectorAll('#class-table tbody tr').length === 10");
    // Text is shown as text, not parsed as HTML.
    browser.until("document.querySelector('#lines').textContent.includes('it <i>says</i> this')");
    assert_eq!(browser.run("return document.querySelector('h1').textContent"), about().job);
    assert_eq!(browser.run("return document.querySelectorAll('h1 b, #lines i').length"), 0);
    // Thumbnails are fetched once they come into view.
    browser.run("document.querySelector('#samples').scrollIntoView()");
    browser.until("document.querySelectorAll('#wall img').length === 12");
    browser.until("document.querySelector('#wall img').naturalWidth === 8");
    assert_eq!(
        browser.run("return document.querySelector('#wall img').alt"),
        "Sample 0 of epoch 1: pseudo-label 0 (75 %), true class 0"
    );

    // A new epoch appears within two seconds; on a busy machine it may miss that once.
    let soon = (21..=23).any(|epoch| {
        rig.shown.epoch(epoch);
        let took = browser.until(&format!(
            "document.querySelector('#range').textContent === 'epochs 1 to {epoch}' && \
             document.querySelector('#epoch').textContent.startsWith('epoch {}')",
            epoch + 1
        ));
        took < Duration::from_secs(2)
    });
    assert!(soon);

    // Other charts can be chosen, each with its help.
    browser.run("document.querySelector('.chooser').open = true");
    let before = browser.run("return document.querySelectorAll('#plots figure').length").as_u64().unwrap();
    browser.click("[data-meter='coverage']");
    browser.until("document.querySelector('#plots figure[data-meter=coverage] canvas')");
    assert_eq!(browser.run("return document.querySelectorAll('#plots figure').length"), before + 1);
    browser.until("document.querySelector('#chooser').textContent.includes('Fraction of the samples in the ledger without')");
    assert_eq!(browser.errors(false), NONE);
}

#[test]
fn what_happened_is_listed_by_kind() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    (1..=20).for_each(|epoch| rig.shown.epoch(epoch));
    rig.shown.mark(MarkKind::Drift, 7, "the features <b>moved</b>");
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelectorAll('#marks li').length === 1");
    browser.until("document.querySelector('#marks').textContent.includes('the features <b>moved</b>')");
    rig.shown.mark(MarkKind::Checkpoint, 8, "a checkpoint was written");
    browser.until("document.querySelectorAll('#marks li').length === 2");
    browser.click("#kinds input[data-kind=checkpoint]");
    browser.until("document.querySelectorAll('#marks li').length === 1");
    browser.until("document.querySelector('#kinds').textContent.includes('Checkpoint (1)')");
    // A stage shows its numbers, and charts can be drawn across samples and time.
    browser.click("#graph [data-stage=learn]");
    browser.until("document.querySelector('#stage h3')?.textContent === 'learn'");
    for axis in ["samples", "time", "epoch"] {
        browser.run(&format!(
            "const a = document.querySelector('#axis'); a.value = '{axis}'; a.dispatchEvent(new Event('change'))"
        ));
        browser.until("document.querySelectorAll('#plots canvas').length >= 12");
    }
    assert_eq!(browser.errors(false), NONE);
}

#[test]
fn a_job_that_is_fed_says_what_it_waits_for() {
    let Some(browser) = Browser::start() else { return };
    let toml = "[source]\nkind = \"http\"\n".into();
    let rig = rig_of(About { fed: true, toml, ..about() }, None, Limits::default());
    rig.shown.status.controls.set_starved(Instant::now().checked_sub(Duration::from_secs(5)));
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelector('#state-text').textContent === 'waiting for samples'");
    browser.until("!document.querySelector('#begin').hidden");
    let address = format!("http://{}/samples", rig.address);
    browser.until(&format!("document.querySelector('#commands').textContent.includes('{address}')"));
    browser.until("document.querySelector('#commands').textContent.includes('head -n 64')");
    browser.until("document.querySelector('#live').textContent.includes('Refused')");
    assert_eq!(browser.errors(false), NONE);
}

#[test]
fn the_page_is_used_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    (1..=50).for_each(|epoch| rig.shown.epoch(epoch));
    let controls = rig.shown.status.controls.clone();
    browser.resize(1280, 900);
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelector('#range').textContent === 'epochs 1 to 50'");
    browser.until("document.querySelectorAll('#plots canvas').length >= 12");
    let mut reached: Vec<String> = Vec::new();
    for _ in 0..60 {
        browser.keys(TAB);
        let what =
            "const e = document.activeElement; return e.id || e.getAttribute('class') || e.textContent";
        reached.push(browser.run(what).as_str().unwrap().to_string());
    }
    assert_eq!(reached[0], "skip", "{reached:?}");
    for wanted in ["pause", "checkpoint", "stop", "theme", "plot"] {
        assert!(reached.iter().any(|id| id == wanted), "{wanted} is not in {reached:?}");
    }

    browser.run("document.querySelector('#pause').focus()");
    browser.keys(ENTER);
    browser.until("document.querySelector('#pause').textContent === 'Resume'");
    assert!(controls.is_paused());
    assert_eq!(browser.run("return document.querySelector('#say').textContent"), "The job is paused");
    browser.keys(ENTER);
    browser.until("document.querySelector('#state-text').textContent === 'running'");
    assert!(!controls.is_paused());
    browser.run("document.querySelector('#checkpoint').focus()");
    browser.keys(ENTER);
    browser.until("document.querySelector('#say').textContent.includes('checkpoint')");
    assert!(controls.take_checkpoint());

    browser.run("document.querySelector('.plot').focus()");
    browser.keys("+");
    browser.until("document.querySelector('#range').textContent === 'epochs 13 to 38'");
    browser.keys("\u{E012}"); // left
    browser.until("document.querySelector('#range').textContent === 'epochs 7 to 32'");
    browser.keys("0");
    browser.until("document.querySelector('#range').textContent === 'epochs 1 to 50'");
    // A table shows the same values.
    browser.run("document.querySelector('figure .foot details').open = true");
    browser.until("document.querySelectorAll('figure tbody tr').length === 25");
    browser.run("document.querySelector('[data-column=accuracy] button').focus()");
    browser.keys(ENTER);
    browser
        .until("document.querySelector('[data-column=accuracy]').getAttribute('aria-sort') === 'descending'");
    browser.run("document.querySelector('#tab-accepted').focus()");
    browser.keys("\u{E014}"); // right
    browser.until("document.activeElement.id === 'tab-rejected'");

    browser.run("document.querySelector('#stop').focus()");
    browser.keys(ENTER);
    browser.until("document.querySelector('#stop-dialog').open");
    browser.keys("\u{E00C}"); // escape
    browser.until("!document.querySelector('#stop-dialog').open");
    assert!(!controls.is_stopped());
    browser.keys(ENTER);
    browser.click("#stop-dialog [value=stop]");
    browser.until("document.querySelector('#say').textContent.includes('ends')");
    assert!(controls.is_stopped());
    assert_eq!(browser.errors(false), NONE);
}

/// Elements whose text has too little contrast, with the contrast.
const PALE: &str = r#"
const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgb = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data; };
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
const ground = (element) => { for (let e = element; e; e = e.parentElement) {
  const found = rgb(getComputedStyle(e).backgroundColor); if (found[3] === 255) return found; } return [255, 255, 255]; };
const pale = [];
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || element.disabled || !element.checkVisibility() || element.closest('.hidden, svg')) continue;
  const style = getComputedStyle(element);
  const [a, b] = [light(rgb(style.color)), light(ground(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) pale.push(`${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return pale;
"#;

/// Elements that a screen reader could not announce.
const MUTE: &str = r#"
const named = (e) => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim()
  || e.labels?.length || e.title;
const mute = [...document.querySelectorAll('button, select, input, a, [role=region], [tabindex="0"]')]
  .filter((e) => !named(e)).map((e) => e.outerHTML.slice(0, 90));
for (const image of document.querySelectorAll('img:not([alt])')) mute.push(image.outerHTML.slice(0, 90));
for (const table of document.querySelectorAll('table:not(:has(caption))')) mute.push('a table without caption');
const levels = [...document.querySelectorAll('h1, h2, h3')].filter((h) => h.checkVisibility()).map((h) => +h.tagName[1]);
if (levels.some((level, at) => level - (levels[at - 1] ?? 0) > 1)) mute.push(`levels of headings: ${levels}`);
for (const tag of ['h1', 'main', 'header', 'nav']) if (document.querySelectorAll(tag).length !== 1) mute.push(`not one ${tag}`);
const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => mute.push(`twice: ${id}`));
return mute;
"#;

#[test]
fn the_page_fits_a_phone_and_is_readable_in_both_themes() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    (1..=5).for_each(|epoch| rig.shown.epoch(epoch));
    rig.shown.line(&"a-long-word".repeat(40));
    for (width, theme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"), (320, "light")] {
        browser.resize(width, 800);
        browser.theme(theme);
        browser.goto(&format!("http://{}/", rig.address));
        browser.until("document.querySelectorAll('#plots canvas').length >= 12");
        browser.until("document.querySelectorAll('#class-table tbody tr').length === 10");
        browser.until("document.querySelectorAll('#graph .node').length === 9");
        browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })");
        browser.run("document.querySelector('#samples').scrollIntoView()");
        browser.until("document.querySelectorAll('#wall img').length === 12");
        browser.until("document.querySelectorAll('figure tbody tr').length > 12");
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= width.into(), "{wide} pixels wide at {width}");
        assert_eq!(browser.run(PALE), json!([]), "{theme} at {width}");
        assert_eq!(browser.run(MUTE), json!([]), "{theme} at {width}");
    }
    let dark = "return getComputedStyle(document.body).backgroundColor";
    let by_system = browser.run(dark);
    browser.run(
        "const t = document.querySelector('#theme'); t.value = 'dark'; t.dispatchEvent(new Event('change'))",
    );
    assert_ne!(browser.run(dark), by_system, "a theme can be chosen");
    assert_eq!(browser.errors(false), NONE);
}

#[test]
fn the_page_asks_for_the_token() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig_of(about(), Some("secret"), Limits::default());
    rig.shown.epoch(1);
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelector('#token-dialog').open");
    assert_eq!(browser.run("return document.querySelector('#toml').textContent"), "");
    browser.keys(&format!("wrong{ENTER}"));
    browser.until("document.querySelector('#token-why').textContent.includes('token is wrong') && document.querySelector('#token-dialog').open");
    browser.keys(&format!("secret{ENTER}"));
    browser.until("document.querySelector('#state-text').textContent === 'running'");
    browser.until("document.querySelectorAll('#tiles li').length === 8");
    browser.click("#pause");
    browser.until("document.querySelector('#pause').textContent === 'Resume'");
    assert!(rig.shown.status.controls.is_paused());
    let told = "return location.href + document.cookie + JSON.stringify(localStorage)";
    assert!(!browser.run(told).as_str().unwrap().contains("secret"));
    // A reload of the same tab does not ask for the token again.
    browser.run("location.reload()");
    browser.until("document.querySelectorAll('#tiles li').length === 8");
    assert_eq!(browser.errors(true), NONE);
}

fn job(state: &Path, port: u16) -> Child {
    let mut command = support::sluicebox();
    command.args(["run", "pipelines/digits.toml", "--state", state.to_str().unwrap()]);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    let small = ["device=cpu", "threads=1", "epoch.steps=5", "stop.epochs=0", "checkpoint.steps=5"];
    small.iter().for_each(|set| _ = command.args(["--set", set]));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_page_goes_on_when_a_killed_job_is_back() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let epoch = "Number(document.querySelector('#epoch').textContent.replace(/,/g, '').match(/epoch (\\d+)/)?.[1] ?? 0)";
    let mut first = job(folder.path(), port);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(50));
        assert!(first.try_wait().unwrap().is_none());
    }
    browser.goto(&format!("http://127.0.0.1:{port}/"));
    browser.until(&format!("{epoch} >= 3 && document.querySelectorAll('#tiles li').length > 3"));
    browser.until("document.querySelectorAll('#plots canvas').length > 3");
    assert_eq!(browser.errors(false), NONE);
    first.kill().unwrap();
    first.wait().unwrap();
    browser.until("document.querySelector('#lost').textContent.includes('Connection lost')");
    assert_eq!(browser.run("return document.querySelector('#pause').disabled"), true);
    let before = browser.run(&format!("return {epoch}")).as_u64().unwrap();

    let mut second = job(folder.path(), port);
    browser.until(&format!("document.querySelector('#lost').hidden && {epoch} > {before}"));
    browser.until("document.querySelector('#say').textContent === 'Connected to a new run of the job'");
    // Epochs before the kill are still in the charts.
    browser.until("document.querySelector('#range').textContent.startsWith('epochs 1 to ')");
    browser.until("document.querySelectorAll('#plots canvas').length > 3");
    let errors: Vec<Value> = browser.errors(true).into_iter().map(Value::from).collect();
    assert_eq!(errors, Vec::<Value>::new());

    // A job paused from the page makes no progress, and resumes.
    browser.click("#pause");
    browser.until("document.querySelector('#state-text').textContent === 'paused'");
    let progress = || {
        ureq::get(format!("http://127.0.0.1:{port}/progress.json"))
            .call()
            .unwrap()
            .body_mut()
            .read_json::<Value>()
            .unwrap()
    };
    // Steps that were already cut are still made.
    let deadline = Instant::now() + Duration::from_secs(60);
    let stood = loop {
        let stood = progress();
        std::thread::sleep(Duration::from_millis(700));
        if progress() == stood {
            break stood;
        }
        assert!(Instant::now() < deadline, "it does not pause: {stood}");
    };
    browser.click("#pause");
    browser.until(&format!(
        "document.querySelector('#state-text').textContent === 'running' && {epoch} > {}",
        stood["epoch"]
    ));
    browser.click("#stop");
    browser.click("#stop-dialog [value=stop]");
    assert!(second.wait().unwrap().success());
    browser.until(
        "document.querySelector('#lost').textContent.includes('was stopped. It wrote a checkpoint in')",
    );
    browser.until("document.title.startsWith('ended at ')");
}

#[test]
#[ignore = "takes minutes, and says how long a million epochs take to open"]
fn a_million_epochs_open() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    rig.shown.many(1_000_000);
    browser.resize(1280, 900);
    for _ in 0..3 {
        let began = Instant::now();
        browser.goto(&format!("http://{}/", rig.address));
        browser.until("document.querySelector('#range').textContent === 'epochs 1 to 1,000,000'");
        browser.until("document.querySelectorAll('#plots canvas').length >= 12");
        println!("a million epochs in {:?}", began.elapsed());
        let asked = "return performance.getEntriesByType('resource').filter((e) => !e.name.includes('/page/')) \
                     .map((e) => `${e.name.slice(21, 60)} ${Math.round(e.startTime)} + ${Math.round(e.duration)} ms`)";
        println!("{:#}", browser.run(asked));
        browser.run("document.querySelector('.plot').focus()");
        browser.keys("+");
        let took = browser.until("document.querySelector('#range').textContent.startsWith('epochs 250,0')");
        println!("half of them in {took:?}");
    }
}
