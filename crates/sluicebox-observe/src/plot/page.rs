//! The report: one page without scripts or network access, which can be printed.

use crate::plot::chart::Chart;
use crate::plot::data::{PlotData, meter};
use crate::plot::tables;
use crate::plot::tables::escaped;
use crate::plot::{draw, scale};
use sluicebox_core::report::Meter;

const STYLE: &str = include_str!("page.css");

/// Charts of a report: title, and meters with the same unit.
const CHARTS: [(&str, &[&str]); 15] = [
    ("Throughput", &["samples_per_s", "student_samples_per_s", "arriving_per_s"]),
    (
        "Accuracy",
        &["accuracy", "prequential_accuracy", "prequential_accuracy_window", "prequential_accuracy_total"],
    ),
    (
        "Accuracy of answers and network",
        &["accuracy", "network_accuracy", "prequential_accuracy_total", "network_prequential_accuracy_total"],
    ),
    (
        "Who answers: shares",
        &[
            "network_share",
            "discriminants_share",
            "random_features_share",
            "neighbours_share",
            "rescaled_share",
            "forest_share",
            "prior_share",
        ],
    ),
    ("Filter", &["accepted_fraction", "threshold", "confidence", "coverage"]),
    ("Precision of pseudo-labels", &["pseudo_label_precision", "ledger_precision", "agreement"]),
    ("Loss", &["labelled_loss", "unlabelled_loss"]),
    ("Waiting time", &["credit_wait_fraction", "source_wait_fraction", "idle_fraction", "paused_fraction"]),
    ("Accuracy on earlier phases", &["min_accuracy", "worst_case_accuracy", "average_anytime_accuracy"]),
    ("Forgetting", &["forgetting", "backward_transfer"]),
    ("Drift: how near the detector is to its alarm", &["drift"]),
    ("Class prior: divergence from the labels", &["prior_divergence"]),
    ("Calibration error", &["calibration_error"]),
    ("Gradients", &["gradient_norm"]),
    ("Memory", &["resident_memory_mib", "gpu_memory_mib"]),
];

/// Returns the report, with charts of `meters`; empty: the default charts.
pub(super) fn page(data: &PlotData, meters: &[&'static Meter]) -> Result<String, String> {
    let about = &data.about;
    let (first, last) = data.epochs;
    let title = escaped(&about.job);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}: epochs {first} to {last}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"kind\">{} · epochs {first} to {last}</p>\n<h1>{title}</h1>\n{}</header>\n",
        escaped(&about.method),
        tables::origin(data),
    );
    page += &tables::verdicts(data);
    page += &tables::tiles(data);
    page += "<section class=\"charts\" aria-label=\"Charts over epochs\">\n";
    for chart in charts(data, meters)? {
        page += &figure(&chart)?;
    }
    page += "</section>\n";
    page += &tables::operators(&data.newest);
    page += &tables::classes(&data.newest);
    page += &tables::confusions(&data.newest, &about.classes);
    page += &format!(
        "<section class=\"job\">\n<h2>Job file</h2>\n<pre>{}</pre>\n</section>\n",
        escaped(&about.toml)
    );
    let by = format!("Sluicebox {}", escaped(&about.version));
    page += &format!("</main>\n<footer>{by}</footer>\n</body>\n</html>\n");
    Ok(page)
}

/// Returns the charts that have values.
fn charts(data: &PlotData, meters: &[&'static Meter]) -> Result<Vec<Chart>, String> {
    let mut charts = Vec::new();
    for asked in meters {
        charts.push(Chart::new(&asked.label(), &[asked], &data.points, &data.marks));
    }
    for (title, names) in CHARTS.iter().filter(|_| meters.is_empty()) {
        let meters = names.iter().map(|name| meter(name)).collect::<Result<Vec<_>, _>>();
        let meters = meters.map_err(|error| error.to_string())?;
        charts.push(Chart::new(title, &meters, &data.points, &data.marks));
    }
    charts.retain(|chart| !chart.is_empty());
    Ok(charts)
}

/// Returns a chart with its legend, which explains each line.
fn figure(chart: &Chart) -> Result<String, String> {
    let title = escaped(&chart.title);
    let names: Vec<String> = chart.curves.iter().map(|curve| curve.meter.label()).collect();
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
    for kind in chart.kinds() {
        let (class, words) = (kind.name(), kind.words());
        legend += &format!("<li><i class=\"mark {class}\"></i><b>{words}</b></li>\n");
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
