//! The report: one page without scripts or network access, which can be printed.

use crate::plot::chart::Chart;
use crate::plot::tables;
use crate::plot::tables::escaped;
use crate::plot::{Facts, draw, meter, scale};
use sluicebox_core::report::Meter;

const STYLE: &str = include_str!("page.css");

/// Charts of a report: title, and meters with the same unit.
const CHARTS: [(&str, &[&str]); 13] = [
    ("How fast", &["samples_per_s", "student_samples_per_s", "arriving_per_s"]),
    (
        "How good",
        &["accuracy", "prequential_accuracy", "prequential_accuracy_window", "prequential_accuracy_total"],
    ),
    ("What the filter lets through", &["accepted_fraction", "threshold", "confidence", "coverage"]),
    ("Whether pseudo-labels are right", &["pseudo_label_precision", "ledger_precision", "agreement"]),
    ("Losses", &["labelled_loss", "unlabelled_loss"]),
    (
        "Where the stream waits",
        &["credit_wait_fraction", "source_wait_fraction", "idle_fraction", "paused_fraction"],
    ),
    ("What becomes of earlier phases", &["min_accuracy", "worst_case_accuracy", "average_anytime_accuracy"]),
    ("What is forgotten", &["forgetting", "backward_transfer"]),
    ("Whether the stream has drifted", &["drift"]),
    ("How far judgements are from the labels' classes", &["prior_divergence"]),
    ("How well its confidence is calibrated", &["calibration_error"]),
    ("Gradients", &["gradient_norm"]),
    ("Memory", &["resident_memory_mib", "gpu_memory_mib"]),
];

/// Returns the report, with charts of `meters`; empty: the default charts.
pub(super) fn page(facts: &Facts, meters: &[&'static Meter]) -> Result<String, String> {
    let about = &facts.about;
    let (first, last) = facts.epochs;
    let title = escaped(&about.job);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}: epochs {first} to {last}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"kind\">{} · epochs {first} to {last}</p>\n<h1>{title}</h1>\n{}</header>\n",
        escaped(&about.method),
        tables::origin(facts),
    );
    page += &tables::tiles(facts);
    page += "<section class=\"charts\" aria-label=\"Charts over epochs\">\n";
    for chart in charts(facts, meters)? {
        page += &figure(&chart)?;
    }
    page += "</section>\n";
    page += &tables::operators(&facts.newest);
    page += &tables::classes(&facts.newest);
    page += &tables::confusions(&facts.newest, &about.classes);
    page += &format!(
        "<section class=\"job\">\n<h2>The whole job</h2>\n<pre>{}</pre>\n</section>\n",
        escaped(&about.toml)
    );
    let by = format!("Sluicebox {}", escaped(&about.version));
    page += &format!("</main>\n<footer>{by}</footer>\n</body>\n</html>\n");
    Ok(page)
}

/// Returns the charts that have values.
fn charts(facts: &Facts, meters: &[&'static Meter]) -> Result<Vec<Chart>, String> {
    let mut charts = Vec::new();
    for asked in meters {
        charts.push(Chart::new(&scale::words(asked.name), &[asked], &facts.points));
    }
    for (title, names) in CHARTS.iter().filter(|_| meters.is_empty()) {
        let meters = names.iter().map(|name| meter(name)).collect::<Result<Vec<_>, _>>();
        let meters = meters.map_err(|error| error.to_string())?;
        charts.push(Chart::new(title, &meters, &facts.points));
    }
    charts.retain(|chart| !chart.is_empty());
    Ok(charts)
}

/// Returns a chart with its legend, which explains each line.
fn figure(chart: &Chart) -> Result<String, String> {
    let title = escaped(&chart.title);
    let names: Vec<String> = chart.curves.iter().map(|curve| scale::words(curve.meter.name)).collect();
    let label = format!("{title} by epoch: {}", names.join(", "));
    let svg =
        draw::inline(chart)?.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
    let mut legend = String::new();
    for (at, (curve, name)) in chart.curves.iter().zip(&names).enumerate() {
        let swatch = format!("<i style=\"background:{}\"></i>", draw::color(at));
        let last = curve.dots.last().map_or(0.0, |dot| dot.mean);
        let last = scale::text(chart.unit, last);
        let help = escaped(curve.meter.help);
        legend += &format!("<li>{swatch}<b>{name}</b> <output>{last}</output> <span>{help}</span></li>\n");
    }
    Ok(format!("<figure>\n<h2>{title}</h2>\n{svg}<figcaption><ul>\n{legend}</ul></figcaption>\n</figure>\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chart_counts_in_one_unit() {
        for (title, names) in CHARTS {
            let units: Vec<_> = names.iter().map(|name| meter(name).unwrap().unit).collect();
            assert!(units.iter().all(|unit| *unit == units[0]), "{title}");
        }
    }
}
