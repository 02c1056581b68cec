//! Tiles and tables of a report: summary, operators, classes, confusions.

use crate::plot::data::{PlotData, meter};
use crate::plot::scale;
use crate::verdict::Verdict;
use sluicebox_core::report::{
    Better, Cell, ClassMeters, Confusion, Kind, Meter, Meters, Named, OperatorMeters, Report, Unit,
};
use std::collections::HashMap;

/// Meters shown as tiles, where known.
const TILES: [&str; 14] = [
    "accuracy",
    "network_accuracy",
    "prequential_accuracy_total",
    "network_prequential_accuracy_total",
    "pseudo_label_precision",
    "ledger_precision",
    "accepted_fraction",
    "samples_per_s",
    "samples",
    "student_samples",
    "labels_known",
    "drift_alarms",
    "dead_letters",
    "resident_memory_mib",
];
/// Most classes of a matrix; with more, only the most frequent errors are listed.
const MATRIX: usize = 20;
/// Most rows of a table.
const ROWS: usize = 100;

/// Returns `text` escaped for HTML, also within quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Returns when and where the job ran.
pub(super) fn origin(data: &PlotData) -> String {
    let (runs, begun) = data.runs;
    let mut rows = vec![
        ("Began", scale::time(begun)),
        ("As of", scale::time(data.newest.ended_ms.max(data.whole.ended_ms))),
        ("Device", data.about.device.clone()),
        ("Machine", data.about.machine.clone()),
        ("Classes", data.about.classes.len().to_string()),
    ];
    if runs > 1 {
        rows.push(("Runs", runs.to_string()));
    }
    let rows = rows.iter().filter(|(_, text)| !text.is_empty());
    let rows: String =
        rows.map(|(name, text)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(text))).collect();
    format!("<dl class=\"origin\">\n{rows}</dl>\n")
}

/// Returns the verdicts.
pub(super) fn verdicts(data: &PlotData) -> String {
    let item = |verdict: &Verdict| {
        let tone = serde_json::to_string(&verdict.tone).unwrap_or_default();
        let (title, head, more) = (escaped(&verdict.title), escaped(&verdict.head), escaped(&verdict.more));
        format!("<li data-tone={tone}><b>{title}</b> <strong>{head}</strong> <span>{more}</span></li>\n")
    };
    let items: String = data.verdicts.iter().map(item).collect();
    format!("<section aria-label=\"Verdicts\">\n<ul class=\"verdicts\">\n{items}</ul>\n</section>\n")
}

/// Returns the summary tiles.
pub(super) fn tiles(data: &PlotData) -> String {
    let tiles = TILES.iter().filter_map(|name| tile(data, meter(name).ok()?));
    format!("<section class=\"tiles\" aria-label=\"Summary\">\n{}</section>\n", tiles.collect::<String>())
}

fn tile(data: &PlotData, meter: &Meter) -> Option<String> {
    let known = data.points.iter().rev().find_map(|point| point.mean.value(meter.name));
    let last = data.newest.job.value(meter.name).or(known)?;
    let write = |value| scale::text(meter.unit, value);
    let more = match (meter.name, meter.kind, meter.better) {
        ("ledger_precision", ..) => {
            let end = |name| data.newest.job.value(name).map(write);
            end("ledger_precision_low")
                .zip(end("ledger_precision_high"))
                .map(|(low, high)| format!("95%: {low} to {high}"))
        }
        (_, Kind::Gauge, Better::Higher) if meter.unit != Unit::Count => {
            data.whole.high.value(meter.name).map(|best| format!("best {}", write(best)))
        }
        (_, Kind::Gauge, _) if meter.unit != Unit::Count => {
            data.whole.mean.value(meter.name).map(|mean| format!("mean {}", write(mean)))
        }
        _ => None,
    };
    let (name, help) = (meter.label(), escaped(meter.help));
    let more = more.map_or(String::new(), |more| format!("<small>{more}</small>"));
    Some(format!("<div title=\"{help}\"><span>{name}</span><b>{}</b>{more}</div>\n", write(last)))
}

/// Returns the table of the operators' time.
pub(super) fn operators(report: &Report) -> String {
    if report.operators.is_empty() {
        return String::new();
    }
    let rows: String = report.operators.iter().take(ROWS).map(operator).collect();
    format!(
        "<section>\n<h2>Where the time goes</h2>\n<p>Operators of the dataflow in epoch {}: fraction of the wall time, \
         dark for the stage's own work, light for the engine's.</p>\n<div class=\"wide\" tabindex=\"0\"><table class=\"operators\">\n<thead><tr>\
         <th scope=\"col\">operator</th><th scope=\"col\">busy</th><th scope=\"col\"></th>\
         <th scope=\"col\">µs/sample</th><th scope=\"col\">samples/s</th></tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n</section>\n",
        report.epoch
    )
}

fn operator(operator: &Named<OperatorMeters>) -> String {
    let of = &operator.meters;
    let part = |value: Option<f64>| 100.0 * value.filter(|v| v.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
    let (busy, stage) = (part(of.busy_fraction.or(of.stage_fraction)), part(of.stage_fraction));
    let bar = format!(
        "<td class=\"bar\" aria-hidden=\"true\"><div><i style=\"width:{stage:.2}%\"></i>\
         <i class=\"engine\" style=\"width:{:.2}%\"></i></div></td>",
        (busy - stage).max(0.0)
    );
    let [share, us, rate] =
        cells(of, &["busy_fraction", "us_per_sample", "samples_per_s"]).try_into().unwrap_or_default();
    format!("<tr><th scope=\"row\">{}</th>{share}{bar}{us}{rate}</tr>\n", escaped(&operator.name))
}

/// Returns the table of classes, at most [`ROWS`] of them.
pub(super) fn classes(report: &Report) -> String {
    let known = |meter: &&Meter| report.classes.iter().any(|class| class.meters.value(meter.name).is_some());
    let meters: Vec<&Meter> = ClassMeters::METERS.iter().filter(known).collect();
    if meters.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = meters.iter().map(|meter| meter.name).collect();
    let head = |meter: &&Meter| {
        format!("<th scope=\"col\" title=\"{}\">{}</th>", escaped(meter.help), meter.label())
    };
    let head: String = meters.iter().map(head).collect();
    let row = |class: &Named<ClassMeters>| {
        let cells = cells(&class.meters, &names).concat();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escaped(&class.name))
    };
    let rows: String = report.classes.iter().take(ROWS).map(row).collect();
    let more = match report.classes.len().saturating_sub(ROWS) {
        0 => String::new(),
        more => format!("<p>{more} more classes are not shown.</p>\n"),
    };
    format!(
        "<section>\n<h2>Classes</h2>\n<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">class</th>{head}\
         </tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n{more}</section>\n"
    )
}

/// Returns values as table cells.
fn cells<M: Meters>(numbers: &M, names: &[&str]) -> Vec<String> {
    let cell = |name: &&str| {
        let meter = M::meter(name);
        let value = meter.and_then(|meter| Some(scale::text(meter.unit, numbers.value(name)?)));
        format!("<td>{}</td>", value.unwrap_or_else(|| "–".into()))
    };
    names.iter().map(cell).collect()
}

/// Returns the confusion matrices.
pub(super) fn confusions(report: &Report, classes: &[String]) -> String {
    let known = report.confusions.iter().filter(|confusion| !confusion.cells.is_empty());
    let all: String =
        known.map(|confusion| format!("<figure>\n{}</figure>\n", matrix(confusion, classes))).collect();
    match all.is_empty() {
        true => all,
        false => format!(
            "<section>\n<h2>Confusion matrices</h2>\n<div class=\"matrices\">\n{all}</div>\n</section>\n"
        ),
    }
}

fn matrix(confusion: &Confusion, classes: &[String]) -> String {
    let of = match confusion.of.as_str() {
        "stream" => "True classes known to the source, in this epoch",
        "labels" => "Late labels, in the ledger",
        "held-out" => "Held-out samples, at the last evaluation",
        other => other,
    };
    let name =
        |class: u32| classes.get(class as usize).map_or_else(|| class.to_string(), |name| escaped(name));
    let caption = format!("<caption>{}</caption>", escaped(of));
    if classes.len() > MATRIX {
        let mut wrong: Vec<_> = confusion.cells.iter().filter(|cell| cell.truth != cell.given).collect();
        wrong.sort_by_key(|cell| std::cmp::Reverse(cell.samples));
        let row = |cell: &&Cell| {
            let samples = scale::text(Unit::Samples, cell.samples as f64);
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{samples}</td></tr>\n",
                name(cell.truth),
                name(cell.given)
            )
        };
        let rows: String = wrong.iter().take(MATRIX).map(row).collect();
        return format!(
            "<div class=\"wide\" tabindex=\"0\"><table>{caption}<thead><tr><th scope=\"col\">true class</th><th scope=\"col\">given class</th>\
             <th scope=\"col\">samples</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
        );
    }
    let cells: HashMap<(u32, u32), u64> =
        confusion.cells.iter().map(|cell| ((cell.truth, cell.given), cell.samples)).collect();
    let numbers = 0..classes.len() as u32;
    let head: String =
        numbers.clone().map(|class| format!("<th scope=\"col\">{}</th>", name(class))).collect();
    let row = |truth: u32| {
        let samples = |given| cells.get(&(truth, given)).copied().unwrap_or(0);
        let all: u64 = numbers.clone().map(samples).sum();
        let cell = |given: u32| {
            let share = samples(given) as f64 / all.max(1) as f64;
            // Errors are rare; the square root makes them visible.
            let (kind, heat) = if truth == given { ("right", share) } else { ("wrong", share.sqrt()) };
            let text = if samples(given) == 0 { String::new() } else { samples(given).to_string() };
            format!("<td class=\"{kind}\" style=\"--heat:{heat:.3}\">{text}</td>")
        };
        let row: String = numbers.clone().map(cell).collect();
        format!("<tr><th scope=\"row\">{}</th>{row}</tr>\n", name(truth))
    };
    let rows: String = numbers.clone().map(row).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\"><table class=\"matrix\">{caption}<thead><tr><th scope=\"col\">true \\ given</th>{head}</tr>\
         </thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meters_of_tiles_are_there() {
        TILES.iter().for_each(|name| assert!(meter(name).is_ok(), "{name}"));
    }

    #[test]
    fn html_is_no_markup() {
        assert_eq!(escaped("<a b=\"c\">&'\u{7}é\n"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}é\n");
    }
}
