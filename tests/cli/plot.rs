//! `plot`: reports and charts of a history, and the errors where one cannot be drawn.

use crate::support::output;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, Cell, ClassMeters, Confusion, JobMeters, Named, OperatorMeters, Report};
use sluicebox_observe::history::HistoryWriter;
use sluicebox_observe::history::settings::History as HistorySettings;
use std::path::Path;
use std::sync::Arc;

const HOSTILE: &str = "<script>alert('x')</script> & \"co\"";

fn about(classes: usize) -> About {
    let names = (0..classes).map(|class| if class == 1 { HOSTILE.into() } else { class.to_string() });
    About {
        job: HOSTILE.into(),
        method: "fixmatch".into(),
        toml: format!("# {HOSTILE}\n[batch]\nlabelled = 32\n"),
        machine: "2 cores".into(),
        device: "cpu".into(),
        started_ms: 1_700_000_000_000,
        classes: names.collect(),
        ..About::default()
    }
}

fn report(epoch: u64, classes: u32) -> Report {
    let at = epoch as f64;
    let job = JobMeters {
        samples: Some(12_800.0 * at),
        samples_per_s: Some(30_000.0 + 2000.0 * at.sin()),
        student_samples_per_s: Some(9_000.0 + 1000.0 * (0.7 * at).cos()),
        accuracy: (epoch.is_multiple_of(2)).then_some(1.0 - 0.5 / (1.0 + 0.3 * at)),
        prequential_accuracy: Some(0.98 - 0.5 / (1.0 + 0.2 * at)),
        accepted_fraction: Some(1.0 - 1.0 / (1.0 + 0.4 * at)),
        ledger_precision: Some(0.95),
        ledger_precision_low: Some(0.93),
        ledger_precision_high: Some(0.97),
        labelled_loss: Some(1.0 / at),
        unlabelled_loss: Some(f64::NAN),
        ..JobMeters::default()
    };
    let class = |class: u32| Named {
        name: if class == 1 { HOSTILE.into() } else { class.to_string() },
        meters: ClassMeters { judged: Some(5.0), accuracy: Some(0.9), ..ClassMeters::default() },
    };
    let operator = OperatorMeters {
        busy_fraction: Some(0.5),
        stage_fraction: Some(0.4),
        us_per_sample: Some(12.5),
        ..OperatorMeters::default()
    };
    let cell = |at: u32| Cell { truth: at, given: (at + 1) % classes, samples: 7, accepted: 5 };
    Report {
        epoch,
        ended_ms: 1_700_000_000_000 + 1000 * epoch,
        job,
        classes: (0..classes).map(class).collect(),
        operators: vec![Named { name: "teach".into(), meters: operator }],
        confusions: vec![Confusion { of: "held-out".into(), cells: (0..classes).map(cell).collect() }],
        ..Report::default()
    }
}

/// Creates a state folder with a history of `epochs` epochs and `classes` classes.
fn state(epochs: u64, classes: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let retention = HistorySettings { epochs: 500, ..HistorySettings::default() };
    let mut history_writer =
        HistoryWriter::open(Some(folder.path()), &retention, &about(classes as usize)).unwrap();
    let events: Vec<Event> =
        (1..=epochs).map(|epoch| Event::Epoch(Arc::new(report(epoch, classes)))).collect();
    history_writer.notify(&events).unwrap();
    folder
}

fn plot(state: &Path, file: &str, more: &[&str]) -> (i32, String, String) {
    let file = state.join(file);
    output(&[&["plot", state.to_str().unwrap(), "-o", file.to_str().unwrap()], more].concat())
}

fn draw(state: &Path, file: &str, more: &[&str]) -> Vec<u8> {
    let (code, stdout, stderr) = plot(state, file, more);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(file) && stdout.contains("epochs"), "{stdout}");
    std::fs::read(state.join(file)).unwrap()
}

fn fails(state: &Path, file: &str, more: &[&str], says: &[&str]) {
    let (code, stdout, stderr) = plot(state, file, more);
    assert_eq!(code, 2, "{file} {more:?}: {stdout}{stderr}");
    for text in says {
        assert!(stderr.contains(text), "{file} {more:?} does not say `{text}`: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn html(state: &Path, more: &[&str]) -> String {
    String::from_utf8(draw(state, "report.html", more)).unwrap()
}

#[test]
fn a_report_says_everything_and_needs_nothing() {
    let state = state(40, 3);
    let page = html(state.path(), &[]);
    let wanted = [
        "Throughput",
        "Accuracy",
        "Where the time goes",
        "Classes",
        "Confusion matrices",
        "Job file",
        "labelled = 32",
        "2 cores",
        "2023-11-14 22:13:20 UTC",
        "fixmatch",
        "epochs 1 to 40",
        "teach",
        "12.5 µs",
        "95%: 93.0% to 97.0%",
        "prefers-color-scheme: dark",
    ];
    for text in wanted {
        assert!(page.contains(text), "{text} is not in it");
    }
    // Meters without values, or with NaN only, have no chart.
    assert!(!page.contains("Gradients</h2>"));
    assert!(!page.contains("unlabelled loss") && !page.contains("NaN"));
    assert_eq!(page.matches("<svg ").count(), page.matches("<svg role=\"img\" aria-label=").count());
    for outside in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "it has {outside}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;co&quot;"));
    // Charts take their colours from the page.
    assert!(page.contains("\"var(--line-0)\"") && !page.contains("fill=\"#FFFFFF\""));
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn many_classes_are_told_by_what_is_confused_most() {
    let page = html(state(5, 300).path(), &[]);
    assert!(page.contains("given class</th>") && page.contains("200 more classes"));
    assert!(!page.contains("class=\"matrix\""));
}

#[test]
fn a_report_can_be_of_some_meters_and_some_epochs() {
    let state = state(40, 3);
    let page = html(
        state.path(),
        &["--meter", "labelled_loss", "--meter", "accuracy", "--from", "11", "--to", "20"],
    );
    assert!(page.contains("epochs 11 to 20"));
    assert_eq!(page.matches("<svg ").count(), 2);
    assert!(page.contains("labelled loss by epoch") && !page.contains("Throughput"));
}

#[test]
fn a_chart_is_svg_with_its_names_and_units() {
    let state = state(40, 3);
    let more = ["--meter", "samples_per_s", "--meter", "student_samples_per_s"];
    let svg = String::from_utf8(draw(state.path(), "chart.svg", &more)).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in ["student samples/s", "per second", "epoch", "30k", "&lt;script&gt;"] {
        assert!(svg.contains(text), "{text} is not in it");
    }
    assert!(!svg.contains("<script"));
    // Single epochs have no band, folded ones have.
    let bands = |svg: &str| svg.matches("<polygon").count();
    assert_eq!(bands(&svg), 0);
    let long = self::state(3000, 3);
    let svg = String::from_utf8(draw(long.path(), "chart.svg", &more)).unwrap();
    assert_eq!(bands(&svg), 2);
    let usual = String::from_utf8(draw(state.path(), "usual.svg", &[])).unwrap();
    assert!(usual.contains("accuracy") && usual.contains('%'));
    // An interval has a band, too.
    let interval = draw(state.path(), "interval.svg", &["--meter", "ledger_precision"]);
    assert_eq!(bands(&String::from_utf8(interval).unwrap()), 1);
}

#[test]
fn a_chart_is_png_with_lines_and_text() {
    let state = state(40, 3);
    let bytes = draw(state.path(), "chart.PNG", &["--meter", "accuracy"]);
    let image = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png).unwrap().into_rgb8();
    let (width, height) = image.dimensions();
    let inked = |left: f64, top: f64, right: f64, bottom: f64| {
        let within = |x: u32, y: u32| {
            let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            (left..right).contains(&x) && (top..bottom).contains(&y)
        };
        image
            .enumerate_pixels()
            .filter(|(x, y, pixel)| within(*x, *y) && pixel.0.iter().any(|c| *c < 200))
            .count()
    };
    assert!((width, height) == (1600, 900));
    assert!(inked(0.0, 0.0, 0.5, 0.08) > 300, "there is a title");
    assert!(inked(0.0, 0.2, 0.05, 0.9) > 100, "there are numbers at the y axis");
    assert!(inked(0.2, 0.93, 0.8, 1.0) > 100, "there is a name under the x axis");
    assert!(inked(0.1, 0.15, 0.98, 0.85) > 1000, "there is a line");
}

#[test]
fn one_epoch_is_enough() {
    let state = state(2, 3);
    for file in ["one.svg", "one.png", "one.html"] {
        draw(state.path(), file, &["--meter", "accuracy", "--from", "2"]);
    }
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let state = state(4, 3);
    let path = state.path();
    fails(path, "chart.svg", &["--meter", "acuracy"], &["unknown meter `acuracy`; did you mean `accuracy`?"]);
    fails(path, "chart.pdf", &[], &["chart.pdf", ".html, .svg or .png"]);
    fails(path, "chart", &[], &[".html, .svg or .png"]);
    fails(path, "none/chart.svg", &[], &["none/chart.svg: cannot be written"]);
    fails(path, "chart.png", &["--meter", "gpu_memory_mib"], &["`gpu_memory_mib` has no value"]);
    let mixed = ["--meter", "accuracy", "--meter", "samples_per_s"];
    fails(path, "chart.png", &mixed, &["`accuracy` is in %, but `samples_per_s` is in per second"]);
    fails(path, "chart.png", &["--from", "9", "--to", "5"], &["--from 9 is after --to 5"]);
    fails(path, "chart.png", &["--from", "9"], &["epochs 1 to 4"]);
    assert!(!path.join("chart.svg").exists() && !path.join("chart.png").exists());

    let empty = tempfile::tempdir().unwrap();
    fails(empty.path(), "chart.svg", &[], &["there is no history in this folder"]);
    fails(&empty.path().join("none"), "chart.svg", &[], &["does not exist"]);
    std::fs::write(empty.path().join("history.db"), "not a history at all").unwrap();
    fails(empty.path(), "chart.svg", &[], &["the history is damaged"]);
    std::fs::write(empty.path().join("history.db"), "").unwrap();
    fails(empty.path(), "chart.svg", &[], &["history.db: is empty"]);
    let new = tempfile::tempdir().unwrap();
    drop(HistoryWriter::open(Some(new.path()), &HistorySettings::default(), &about(3)).unwrap());
    fails(new.path(), "chart.svg", &[], &["its job has not finished an epoch"]);
}
