//! The charts of the page in a real browser: what they draw, and that the address says it. Whether everybody can use the
//! page, by axe-core where a copy of it is named in `SLUICEBOX_AXE`.

use crate::browser::Browser;
use crate::showing::{about, rig, rig_of};
use serde_json::{Value, json};
use sluicebox::serve::http::Limits;
use sluicebox_core::report::{About, MarkKind};
use std::time::{Duration, Instant};

const NONE: [String; 0] = [];

#[test]
fn a_chart_takes_several_numbers_and_a_link_shows_the_same() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    (1..=50).for_each(|epoch| rig.shown.epoch(epoch));
    browser.resize(1280, 900);
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelectorAll('#plots canvas').length >= 12");
    let add = "const s = document.querySelector('figure[data-meter=samples_per_s] .add'); s.focus();
               s.value = 'accuracy'; s.dispatchEvent(new Event('change'))";
    browser.run(add);
    browser.until("document.querySelectorAll('figure[data-meter=samples_per_s] .numbers li').length === 2");
    browser.until("document.querySelector('figure[data-meter=samples_per_s] canvas')");
    let choose = |id: &str, value: &str| {
        browser.run(&format!(
            "const a = document.querySelector('#{id}'); a.value = '{value}'; a.dispatchEvent(new Event('change'))"
        ));
    };
    choose("axis", "samples");
    choose("smoothing", "0.9");
    browser.run("document.querySelector('.plot').focus()");
    browser.keys("+");
    browser.until("document.querySelector('#range').textContent === 'epochs 13 to 38'");
    let link = browser.run("return location.href");
    let link = link.as_str().unwrap();
    for part in ["axis=samples", "smoothing=0.9", "epochs=13-38", "samples_per_s~accuracy"] {
        assert!(link.contains(part), "{part} is not in {link}");
    }

    // The link alone says it: what the browser keeps is forgotten.
    browser.run("localStorage.clear()");
    browser.goto("about:blank");
    browser.goto(link);
    browser.until("document.querySelector('#range').textContent === 'epochs 13 to 38'");
    browser.until("document.querySelectorAll('figure[data-meter=samples_per_s] .numbers li').length === 2");
    assert_eq!(browser.run("return document.querySelector('#axis').value"), "samples");
    assert_eq!(browser.run("return document.querySelector('#smoothing').value"), "0.9");
    // A part of the page is gone to without losing the choices, and a number is taken out again.
    browser.click(".jump a[href='#events']");
    browser.until("document.activeElement.id === 'events'");
    assert_eq!(browser.run("return location.href"), link);
    browser.click("figure[data-meter=samples_per_s] .numbers li:nth-child(2) button");
    browser.until("document.querySelectorAll('figure[data-meter=samples_per_s] .numbers li').length === 1");
    assert_eq!(browser.errors(false), NONE);
}

#[test]
fn charts_stand_in_whole_rows_and_no_title_is_cut() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    (1..=5).for_each(|epoch| rig.shown.epoch(epoch));
    for width in [1280, 900, 390] {
        browser.resize(width, 900);
        browser.goto(&format!("http://{}/", rig.address));
        browser.until("document.querySelectorAll('#plots canvas').length >= 12");
        // Each row is as wide as the grid, and its charts begin and end together.
        let ragged = "
            const grid = document.querySelector('#plots').getBoundingClientRect();
            const rows = Map.groupBy([...document.querySelectorAll('#plots figure')].map((f) => f.getBoundingClientRect()), (r) => Math.round(r.top));
            return [...rows.values()].filter((row) => Math.abs(row.at(-1).right - grid.right) > 1
              || row.some((one) => Math.abs(one.bottom - row[0].bottom) > 1)).length";
        assert_eq!(browser.run(ragged), 0, "at {width}");
        let cut = "return [...document.querySelectorAll('#plots b')].filter((b) => b.scrollWidth > b.clientWidth + 1 && getComputedStyle(b).overflow === 'hidden').length";
        assert_eq!(browser.run(cut), 0, "at {width}");
    }
}

#[test]
fn a_cell_of_the_matrix_says_its_samples_without_a_mouse() {
    let Some(browser) = Browser::start() else { return };
    let rig = rig();
    rig.shown.epoch(1);
    browser.resize(390, 800);
    browser.goto(&format!("http://{}/", rig.address));
    browser.until("document.querySelectorAll('#confusion .right').length === 10");
    browser.run("document.querySelector('#confusion [tabindex]').focus()");
    browser.keys("\u{E014}\u{E015}"); // right, down
    let told = "document.querySelector('#confusion-told').textContent";
    browser.until(&format!("{told}.startsWith('true class 1, given 1')"));
    let before = browser.run(&format!("return {told}"));
    rig.shown.epoch(2); // the cell stays chosen
    browser.until("document.querySelector('#range').textContent === 'epochs 1 to 2'");
    assert_eq!(browser.run(&format!("return {told}")), before);
    browser.until("document.activeElement.closest('#confusion')");
    let fits =
        "const s = document.querySelector('#confusion .scroll'); return s.scrollWidth <= s.clientWidth + 1";
    assert_eq!(browser.run(fits), true, "ten classes fit a phone");
}

/// Violations that axe-core finds, each with the first element.
fn violations(browser: &Browser, axe: &str) -> Value {
    browser.run(axe);
    browser.run(
        "window.found = null; axe.run(document).then((r) => { window.found = r.violations.map((v) => `${v.id}: ${v.nodes[0].html}`); })",
    );
    browser.until("window.found !== null");
    browser.run("return window.found")
}

#[test]
fn axe_finds_nothing() {
    let Some(axe) = std::env::var_os("SLUICEBOX_AXE") else {
        eprintln!("skipped: SLUICEBOX_AXE names no axe.min.js of axe-core");
        return;
    };
    let axe = std::fs::read_to_string(axe).unwrap();
    let Some(browser) = Browser::start() else { return };
    let running = rig();
    (1..=12).for_each(|epoch| running.shown.epoch(epoch));
    running.shown.mark(MarkKind::Drift, 7, "the features moved");
    let toml = "[source]\nkind = \"http\"\n".into();
    let waiting = rig_of(About { fed: true, toml, ..about() }, None, Limits::default());
    waiting.shown.status.controls.set_starved(Instant::now().checked_sub(Duration::from_secs(5)));
    let ended = rig_of(About { ended_ms: Some(1_700_000_000_000), ..about() }, None, Limits::default());
    ended.shown.epoch(1);
    ended.shown.status.clock.end();
    let states = [
        (&running, "document.querySelectorAll('#plots canvas').length >= 12"),
        (
            &waiting,
            "!document.querySelector('#begin').hidden && document.querySelector('#commands').textContent",
        ),
        (
            &ended,
            "document.body.classList.contains('dead') && document.querySelectorAll('#plots canvas').length >= 12",
        ),
    ];
    for (rig, there) in states {
        for (width, theme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
            browser.resize(width, 900);
            browser.theme(theme);
            browser.goto(&format!("http://{}/", rig.address));
            browser.until(there);
            browser.run("document.querySelectorAll('details:not(.info)').forEach((details) => { details.open = true; })");
            assert_eq!(violations(&browser, &axe), json!([]), "opened, {there} at {width}, {theme}");
        }
    }
    assert_eq!(browser.errors(false), NONE);
}
