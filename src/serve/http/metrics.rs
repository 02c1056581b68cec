//! The newest report as Prometheus text: each meter of the tables under one name, in base units.

use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use sluicebox_core::backlog::Part;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Kind, Meter, Progress, Report, SETS, Set, Unit, distinct};
use sluicebox_core::terminal::printable;
use std::borrow::Cow;
use std::sync::Arc;

/// Content type of the text.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Most classes reported: each costs one time series per meter.
pub const CLASSES: usize = 256;

/// Returns the prefix of the metrics of a set. The job's and the reasons' metrics have names that need none.
fn prefix(set: &Set) -> String {
    match set.name {
        "job" | "reason" => "sluicebox_".into(),
        name => format!("sluicebox_{name}_"),
    }
}

/// `GET /metrics`.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
) -> Result<([(HeaderName, &'static str); 1], String), Refused> {
    let status = &shared.status;
    let report = status.reports().borrow().clone();
    let backlog = status.controls.backlog.parts();
    let text = render(&status.about, &status.progress(), &backlog, report.as_deref());
    let failed = |error: Error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.map_err(failed)?))
}

/// Returns the text. Unknown values are left out, and before the first report all meters are.
pub fn render(
    about: &About,
    progress: &Progress,
    backlog: &[(Part, u64)],
    report: Option<&Report>,
) -> Result<String> {
    let mut families = vec![info(about)];
    families.extend(progress_of(about, progress));
    families.extend(lags(backlog));
    if let Some(report) = report {
        let left_out = report.classes.len().saturating_sub(CLASSES);
        families.push(gauge(
            "sluicebox_report_timestamp_seconds",
            "Time of the newest report, in Unix time.",
            report.ended_ms as f64 / 1000.0,
        ));
        families.push(gauge(
            "sluicebox_classes_left_out",
            "Classes without metrics here, because there are too many.",
            left_out as f64,
        ));
        families.extend(SETS.iter().flat_map(|set| metrics_of(set, report)));
    }
    let text = TextEncoder::new().encode_to_string(&families);
    text.map_err(|error| Error::Engine(format!("cannot write metrics: {error}")))
}

/// Returns a meter's metric name, and the factor that converts its values to base units.
fn convention(set: &Set, meter: &Meter) -> (String, f64) {
    let (name, suffix, factor) = match meter.unit {
        Unit::Share => (meter.name.trim_end_matches("_fraction").to_string(), "_ratio", 1.0),
        Unit::Seconds => (meter.name.to_string(), "_seconds", 1.0),
        Unit::Microseconds => (meter.name.replace("us_per_", ""), "_seconds", 1e-6),
        Unit::Mebibytes => (meter.name.replace("_mib", ""), "_bytes", f64::from(1 << 20)),
        Unit::PerSecond => (meter.name.replace("_per_s", ""), "_per_second", 1.0),
        Unit::Nats => (meter.name.to_string(), "_nats", 1.0),
        Unit::Count | Unit::Samples | Unit::Flag | Unit::Plain => (meter.name.to_string(), "", 1.0),
    };
    let mut name = format!("{}{name}", prefix(set));
    for suffix in [suffix, if meter.kind == Kind::Total { "_total" } else { "" }] {
        if !name.ends_with(suffix) {
            name.push_str(suffix);
        }
    }
    (name, factor)
}

/// Returns the metrics of a set: one family per meter with a known value.
fn metrics_of(set: &Set, report: &Report) -> Vec<MetricFamily> {
    let mut rows = (set.rows)(report);
    if set.name == "class" {
        rows.truncate(CLASSES);
    }
    let names: Vec<Cow<str>> = rows.iter().map(|row| printable(row.name)).collect();
    let names = distinct(names.iter().map(|name| &**name));
    let family = |(at, meter): (usize, &Meter)| {
        let (metric_name, factor) = convention(set, meter);
        let known = names.iter().zip(&rows).filter_map(|(name, row)| Some((name, row.values[at]?)));
        let metrics = known.map(|(name, value)| {
            let labels = if set.name == "job" { vec![] } else { vec![pair(set.name, name)] };
            metric(meter.kind, labels, value * factor)
        });
        family(&metric_name, meter.help, meter.kind, metrics.collect())
    };
    set.meters.iter().enumerate().map(family).filter(|family| !family.get_metric().is_empty()).collect()
}

fn info(about: &About) -> MetricFamily {
    let About { job, method, device, version, .. } = about;
    let labels = [("name", job), ("method", method), ("device", device), ("version", version)];
    let labels = labels.into_iter().map(|(name, value)| pair(name, value)).collect();
    let metrics = vec![metric(Kind::Gauge, labels, 1.0)];
    family(
        "sluicebox_info",
        "Description of the job in the labels; the value is always 1.",
        Kind::Gauge,
        metrics,
    )
}

/// Returns how many messages wait in each partition, at this moment.
fn lags(backlog: &[(Part, u64)]) -> Option<MetricFamily> {
    let lag = |((topic, partition), count): &(Part, u64)| {
        let labels = vec![pair("topic", topic), pair("partition", &partition.to_string())];
        metric(Kind::Gauge, labels, *count as f64)
    };
    let help = "Messages that wait in a partition of a topic.";
    let all: Vec<Metric> = backlog.iter().map(lag).collect();
    (!all.is_empty()).then(|| family("sluicebox_partition_lag", help, Kind::Gauge, all))
}

fn progress_of(about: &About, progress: &Progress) -> [MetricFamily; 5] {
    let flag = |raised| f64::from(u8::from(raised));
    [
        gauge(
            "sluicebox_start_time_seconds",
            "Start of this run of the job, in Unix time.",
            about.started_ms as f64 / 1000.0,
        ),
        gauge("sluicebox_epoch", "Current epoch, from 1.", progress.epoch as f64),
        gauge(
            "sluicebox_epoch_done_ratio",
            "Fraction of the current epoch's steps that are done.",
            progress.done as f64 / progress.of.max(1) as f64,
        ),
        gauge("sluicebox_paused", "1 while the job is paused, else 0.", flag(progress.paused)),
        gauge("sluicebox_over", "1 once the job has ended, else 0.", flag(progress.over)),
    ]
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, Kind::Gauge, vec![metric(Kind::Gauge, vec![], value)])
}

fn family(name: &str, help: &str, kind: Kind, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(match kind {
        Kind::Total => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(metrics);
    family
}

fn metric(kind: Kind, labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    match kind {
        Kind::Total => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.into());
    pair.set_value(printable(value).into());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(set: &str, meter: &str) -> (String, f64) {
        let set = SETS.iter().find(|of| of.name == set).unwrap();
        convention(set, set.meters.iter().find(|of| of.name == meter).unwrap())
    }

    #[test]
    fn names_follow_the_conventions() {
        let job = |meter| named("job", meter).0;
        assert_eq!(job("samples"), "sluicebox_samples_total");
        assert_eq!(job("samples_per_s"), "sluicebox_samples_per_second");
        assert_eq!(job("accepted_fraction"), "sluicebox_accepted_ratio");
        assert_eq!(job("accuracy"), "sluicebox_accuracy_ratio");
        assert_eq!(job("checkpoint_seconds"), "sluicebox_checkpoint_seconds");
        assert_eq!(job("prior_divergence"), "sluicebox_prior_divergence_nats");
        assert_eq!(named("phase", "accuracy").0, "sluicebox_phase_accuracy_ratio");
        assert_eq!(named("reason", "refused").0, "sluicebox_refused_total");
        assert_eq!(
            named("job", "resident_memory_mib"),
            ("sluicebox_resident_memory_bytes".into(), 1048576.0)
        );
        assert_eq!(named("operator", "us_per_sample"), ("sluicebox_operator_sample_seconds".into(), 1e-6));
    }

    #[test]
    fn no_two_meters_have_one_name() {
        let of_set = |set: &Set| set.meters.iter().map(|meter| convention(set, meter).0).collect::<Vec<_>>();
        let mut all: Vec<String> = SETS.iter().flat_map(of_set).collect();
        let fixed = progress_of(&About::default(), &Progress::default());
        all.extend(fixed.iter().map(|family| family.name().to_string()));
        all.sort();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
