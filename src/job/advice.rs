//! Which method a job should name, as far as its file tells, with the reason and where its number comes from.

use crate::job::Job;
use crate::job::effective::Effective;
use crate::job::suits::shape_of;
use sluicebox_core::sample::Shape;

/// Ratio of the most to the least frequent class from which on a job counts as imbalanced.
const IMBALANCED: f64 = 5.0;
/// Labels of a class up to which they count as very few.
const VERY_FEW: u64 = 2;

/// A recommended method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Name of the method.
    pub method: &'static str,
    /// Why, and where the number comes from: sentences without the last full stop.
    pub reason: &'static str,
}

impl Advice {
    /// Returns the advice as one sentence, beside the method that a job has.
    pub fn beside(self, method: &str) -> String {
        let named = match self.method == method {
            true => "as the job has it",
            false => "where the job has another one",
        };
        format!("method.kind = \"{}\", {named}: {}.", self.method, self.reason)
    }
}

/// What a job file tells of the task.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Task {
    late_labels: bool,
    phases: bool,
    imbalance: f64,
    labels_per_class: Option<u64>,
    vectors: bool,
}

impl Task {
    fn of(job: &Job, effective: &Effective) -> Self {
        let options = || job.sources.iter().map(|stream| &stream.spec);
        let per_class = options().find_map(|spec| spec.options.get("labelled_per_class")?.as_integer());
        let vectors = job.sources.iter().all(|stream| matches!(shape_of(stream), Some(Shape::Vector { .. })));
        Self {
            late_labels: effective.late_labels,
            phases: job.scenario.phases > 1,
            imbalance: job.scenario.imbalance.max(job.scenario.labelled_imbalance),
            labels_per_class: per_class.and_then(|count| u64::try_from(count).ok()),
            vectors,
        }
    }

    fn advice(self) -> Advice {
        let (method, reason) = match self {
            Task { late_labels: true, .. } => (
                "supervised",
                "labels come late: on the drifting insects (docs/methods.md) all methods end within 0.1 points of it, and it \
                 needs the least time. memory.replay, answer.prior and answer.blend are what matters there",
            ),
            Task { imbalance: IMBALANCED.., .. } => (
                "abc",
                "classes are imbalanced: on CIFAR-10 whose classes differ 100-fold it has 83.9 % where fixmatch has 76.7, and \
                 83.8 against 70.0 where unlabelled samples are imbalanced the other way round (USB, classic_cv_imb)",
            ),
            Task { phases: true, .. } => (
                "fixmatch",
                "classes come in phases: 92.9 % on digits in 5 phases, supervised has 91.4 (docs/methods.md)",
            ),
            Task { vectors: true, .. } => (
                "vat",
                "samples are vectors: it needs no augmentations, of which tables have no good ones (Miyato et al. 2018)",
            ),
            Task { labels_per_class: Some(..=VERY_FEW), .. } => (
                "uda",
                "very few labels: 95.5 ± 6.1 % on digits with one label per class, six draws of the labels, fixmatch 94.7 ± 5.7 \
                 (docs/choosing.md): the draw matters more than the method. Where classes come alike, answer.prior = \"uniform\" belongs to it",
            ),
            _ => (
                "fixmatch",
                "97.0 % on digits with 4 labels per class, where most methods are as good, and 75.6 on Fashion-MNIST with 10, \
                 ahead of all (docs/methods.md)",
            ),
        };
        Advice { method, reason }
    }
}

/// Returns the method that is recommended for a job.
pub fn advice(job: &Job, effective: &Effective) -> Advice {
    Task::of(job, effective).advice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_learn::method::METHODS;

    fn of(text: &str) -> Advice {
        let job = Job::parse("job.toml", "job", text.into(), &[]).unwrap();
        advice(&job, &Effective::foreseen(&job).unwrap())
    }

    #[test]
    fn the_task_decides() {
        let digits = |more: &str| format!("[source]\nkind = \"digits\"\n{more}");
        for (text, method) in [
            (digits(""), "fixmatch"),
            (digits("labelled_per_class = 1"), "uda"),
            (digits("[labels]\nrate = 0.1\n[scenario]\nimbalance = 20.0"), "supervised"),
            (digits("[scenario]\nimbalance = 20.0"), "abc"),
            (digits("[scenario]\nphases = 5\nphase_samples = 1000"), "fixmatch"),
        ] {
            assert_eq!(of(&text).method, method, "{text}");
        }
        let table = "[source]\nkind = \"csv\"\npath = \"x.csv\"";
        assert_eq!(of(table).method, "vat");
    }

    #[test]
    fn every_recommended_method_exists() {
        let task = Task {
            late_labels: false,
            phases: false,
            imbalance: 1.0,
            labels_per_class: None,
            vectors: false,
        };
        for task in [
            task,
            Task { late_labels: true, ..task },
            Task { phases: true, ..task },
            Task { imbalance: 5.0, ..task },
            Task { labels_per_class: Some(1), ..task },
            Task { vectors: true, ..task },
        ] {
            let Advice { method, reason } = task.advice();
            assert!(METHODS.find(method).is_ok() && !reason.ends_with('.'), "{method}");
        }
    }
}
