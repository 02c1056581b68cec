//! The newest report as Prometheus text: each meter of the tables under one name, in base units.

use crate::serve::http::Shared;
use crate::serve::http::refusal::Refused;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use prometheus::TextEncoder;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::{About, Kind, Meter, Meters, Named, Progress, Report, Unit, distinct};
use std::sync::Arc;

/// Content type of the text.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Most classes reported: each costs one time series per meter.
pub const CLASSES: usize = 256;

/// Prometheus naming for the meters of one kind of thing.
struct Table {
    /// Prefix of the metric names.
    prefix: &'static str,
    /// Prometheus label with the thing's name; empty where there is only one thing.
    label: &'static str,
}

const JOB: Table = Table { prefix: "sluicebox_", label: "" };
const CLASS: Table = Table { prefix: "sluicebox_class_", label: "class" };
const OPERATOR: Table = Table { prefix: "sluicebox_operator_", label: "operator" };
const SOURCE: Table = Table { prefix: "sluicebox_source_", label: "source" };
const PHASE: Table = Table { prefix: "sluicebox_phase_", label: "phase" };
const REASON: Table = Table { prefix: "sluicebox_", label: "reason" };

/// `GET /metrics`.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
) -> Result<([(HeaderName, &'static str); 1], String), Refused> {
    let board = &shared.board;
    let report = board.reports().borrow().clone();
    let text = render(&board.about, &board.progress(), report.as_deref());
    let failed = |error: Error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.map_err(failed)?))
}

/// Returns the text. Unknown values are left out, and before the first report all meters are.
pub fn render(about: &About, progress: &Progress, report: Option<&Report>) -> Result<String> {
    let mut families = vec![info(about)];
    families.extend(ledger_stats(about, progress));
    if let Some(report) = report {
        let classes = &report.classes[..report.classes.len().min(CLASSES)];
        let left_out = report.classes.len() - classes.len();
        families.push(gauge(
            "sluicebox_report_timestamp_seconds",
            "When the newest report was made, in Unix time.",
            report.ended_ms as f64 / 1000.0,
        ));
        families.push(gauge(
            "sluicebox_classes_left_out",
            "Classes of which nothing is told here, for there are too many.",
            left_out as f64,
        ));
        families.extend(table(&JOB, &[("", &report.job)]));
        families.extend(table(&CLASS, &things(classes)));
        families.extend(table(&OPERATOR, &things(&report.operators)));
        families.extend(table(&SOURCE, &things(&report.sources)));
        families.extend(table(&PHASE, &things(&report.phases)));
        families.extend(table(&REASON, &things(&report.reasons)));
    }
    let text = TextEncoder::new().encode_to_string(&families);
    text.map_err(|error| Error::Engine(format!("cannot write metrics: {error}")))
}

/// Returns a meter's metric name, and the factor that converts its values to base units.
fn convention(table: &Table, meter: &Meter) -> (String, f64) {
    let (name, suffix, factor) = match meter.unit {
        Unit::Share => (meter.name.trim_end_matches("_fraction").to_string(), "_ratio", 1.0),
        Unit::Seconds => (meter.name.to_string(), "_seconds", 1.0),
        Unit::Microseconds => (meter.name.replace("us_per_", ""), "_seconds", 1e-6),
        Unit::Mebibytes => (meter.name.replace("_mib", ""), "_bytes", f64::from(1 << 20)),
        Unit::PerSecond => (meter.name.replace("_per_s", ""), "_per_second", 1.0),
        Unit::Nats => (meter.name.to_string(), "_nats", 1.0),
        Unit::Count | Unit::Samples | Unit::Plain => (meter.name.to_string(), "", 1.0),
    };
    let mut name = format!("{}{name}", table.prefix);
    for suffix in [suffix, if meter.kind == Kind::Total { "_total" } else { "" }] {
        if !name.ends_with(suffix) {
            name.push_str(suffix);
        }
    }
    (name, factor)
}

/// Returns the metrics of things of one kind: one family per meter with a known value.
fn table<M: Meters>(table: &Table, things: &[(&str, &M)]) -> Vec<MetricFamily> {
    let labels = distinct(things.iter().map(|(name, _)| *name));
    let values: Vec<_> = things.iter().map(|(_, meters)| meters.values()).collect();
    let family = |(at, meter): (usize, &Meter)| {
        let (name, factor) = convention(table, meter);
        let known = labels.iter().zip(&values).filter_map(|(label, values)| Some((label, values[at]?)));
        let metrics = known.map(|(label, value)| {
            let labels = if table.label.is_empty() { vec![] } else { vec![pair(table.label, label)] };
            metric(meter.kind, labels, value * factor)
        });
        family(&name, meter.help, meter.kind, metrics.collect())
    };
    M::METERS.iter().enumerate().map(family).filter(|family| !family.get_metric().is_empty()).collect()
}

fn things<M>(named: &[Named<M>]) -> Vec<(&str, &M)> {
    named.iter().map(|thing| (thing.name.as_str(), &thing.meters)).collect()
}

fn info(about: &About) -> MetricFamily {
    let About { job, method, device, version, .. } = about;
    let labels = [("name", job), ("method", method), ("device", device), ("version", version)];
    let labels = labels.into_iter().map(|(name, value)| pair(name, value)).collect();
    let metrics = vec![metric(Kind::Gauge, labels, 1.0)];
    family("sluicebox_info", "What the job is; always 1.", Kind::Gauge, metrics)
}

fn ledger_stats(about: &About, progress: &Progress) -> [MetricFamily; 5] {
    let flag = |raised| f64::from(u8::from(raised));
    [
        gauge(
            "sluicebox_start_time_seconds",
            "When this run of the job began, in Unix time.",
            about.started_ms as f64 / 1000.0,
        ),
        gauge("sluicebox_epoch", "The present epoch, from 1.", progress.epoch as f64),
        gauge(
            "sluicebox_epoch_done_ratio",
            "How much of the present epoch is done.",
            progress.done as f64 / progress.of.max(1) as f64,
        ),
        gauge("sluicebox_paused", "1 while the job is paused.", flag(progress.paused)),
        gauge("sluicebox_over", "1 when the job is over.", flag(progress.over)),
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
    pair.set_value(value.into());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::{
        ClassMeters, JobMeters, OperatorMeters, PhaseMeters, ReasonMeters, SourceMeters,
    };

    fn names<M: Meters>(table: &Table) -> Vec<String> {
        M::METERS.iter().map(|meter| convention(table, meter).0).collect()
    }

    fn named<M: Meters>(of: &Table, name: &str) -> (String, f64) {
        convention(of, M::METERS.iter().find(|meter| meter.name == name).unwrap())
    }

    #[test]
    fn names_follow_the_conventions() {
        let job = |name| named::<JobMeters>(&JOB, name).0;
        assert_eq!(job("samples"), "sluicebox_samples_total");
        assert_eq!(job("samples_per_s"), "sluicebox_samples_per_second");
        assert_eq!(job("accepted_fraction"), "sluicebox_accepted_ratio");
        assert_eq!(job("accuracy"), "sluicebox_accuracy_ratio");
        assert_eq!(job("checkpoint_seconds"), "sluicebox_checkpoint_seconds");
        assert_eq!(job("prior_divergence"), "sluicebox_prior_divergence_nats");
        let memory = named::<JobMeters>(&JOB, "resident_memory_mib");
        assert_eq!(memory, ("sluicebox_resident_memory_bytes".into(), 1048576.0));
        let work = named::<OperatorMeters>(&OPERATOR, "us_per_sample");
        assert_eq!(work, ("sluicebox_operator_sample_seconds".into(), 1e-6));
    }

    #[test]
    fn no_two_meters_have_one_name() {
        let mut all = names::<JobMeters>(&JOB);
        all.extend(names::<ClassMeters>(&CLASS));
        all.extend(names::<OperatorMeters>(&OPERATOR));
        all.extend(names::<SourceMeters>(&SOURCE));
        all.extend(names::<PhaseMeters>(&PHASE));
        all.extend(names::<ReasonMeters>(&REASON));
        let fixed = ledger_stats(&About::default(), &Progress::default());
        all.extend(fixed.iter().map(|family| family.name().to_string()));
        all.sort();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
