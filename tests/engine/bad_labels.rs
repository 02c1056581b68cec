//! Labels as they should not be: of a class that appears late, that stop, that are wrong for a while. Nothing becomes NaN, the
//! shares of the answers recover, and the report says what happened.

use sluicebox::engine::metrics::Summary;
use sluicebox::job::Job;
use sluicebox::run::{Options, Parts, run_with};
use sluicebox_core::error::Result;
use sluicebox_core::report::{Meters, Report};
use sluicebox_core::sample::{Dtype, Format, Labelled, Samples, Shape, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use sluicebox_observe::history::History;
use sluicebox_stream::source::api::{HeldOut, ReadProgress, Source};

/// Rows of an epoch.
const EPOCH: u64 = 100;
/// Rows after the end of bad labels in which shares and accuracy recover: 500 labels.
const RECOVERED: u64 = 1000;
/// Samples by which a label comes late.
const DELAY: u64 = 40;

/// Rows of three classes, and what is told of them: by row, its class, and the class that its label names.
#[derive(Clone, Copy)]
struct Told {
    class: fn(u64) -> usize,
    label: fn(u64, usize) -> Option<usize>,
}

const WELL: Told = Told { class: any, label: |_, class| Some(class) };

/// Returns a class for each row.
fn any(row: u64) -> usize {
    (drawn(row, 99) * 3.0) as usize
}

/// Returns a number from 0 to 1 for each row and place.
fn drawn(row: u64, place: u64) -> f32 {
    let mixed = (row * 131 + place + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 40) as f32 / (1u64 << 24) as f32
}

fn values(row: u64, class: usize) -> Values {
    let value = |place: u64| {
        let noise = drawn(row, 3 * place) + drawn(row, 3 * place + 1) + drawn(row, 3 * place + 2) - 1.5;
        noise + if place == class as u64 { 1.2 } else { 0.0 }
    };
    Values::F32((0..4).map(value).collect())
}

struct Rows {
    format: Format,
    told: Told,
    next: u64,
}

impl Stateful for Rows {
    fn save(&self) -> Result<Vec<u8>> {
        encode("the rows", &self.next)
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        decode("the rows", state).map(|next| self.next = next)
    }
}

impl Source for Rows {
    fn format(&self) -> &Format {
        &self.format
    }

    fn labelled(&mut self) -> Result<Labelled> {
        let mut first = Labelled::none(Dtype::F32);
        for row in 0..40 {
            let class = (self.told.class)(row);
            let values = values(1_000_000 + row, class);
            first.values.extend_from(&values, 0..values.len());
            first.classes.push(class as i64);
        }
        Ok(first)
    }

    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        let mut held_out = Labelled::none(Dtype::F32);
        for row in (2_000_000..).take(limit.min(300)) {
            let values = values(row, any(row));
            held_out.values.extend_from(&values, 0..values.len());
            held_out.classes.push(any(row) as i64);
        }
        Ok(Some(Box::new(held_out)))
    }

    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        for row in self.next..self.next + count as u64 {
            let class = (self.told.class)(row);
            samples.push(row, &values(row, class), (self.told.label)(row, class));
        }
        self.next += count as u64;
        Ok(ReadProgress::Full)
    }
}

/// Runs a job over so many rows, half of which get their label. Returns its reports, one for each [`EPOCH`] rows.
fn reports(told: Told, rows: u64) -> (Summary, Vec<Report>) {
    let text = format!(
        "source.kind = 'digits' # replaced by `Rows`\ndevice = 'cpu'\nprecision = 'f32'\nthreads = 1\n\
         labels = {{ rate = 0.5, delay = {DELAY} }}\nbatch = {{ labelled = 16, unlabelled = 10, warmup_steps = 20 }}\n\
         model = {{ kind = 'mlp', hidden = [16] }}\nmethod = {{ kind = 'fixmatch', threshold = 0.9 }}\n\
         views = {{ weak = [], strong = [{{ kind = 'jitter' }}] }}\nteacher.ema = 0.9\n\
         optimiser = {{ kind = 'adamw', learning_rate = 0.003 }}\nepoch.steps = {}\nstop.epochs = {}",
        EPOCH / 10,
        rows / EPOCH
    );
    let job = Job::parse("told.toml", "told", text, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let classes = ["ant", "bee", "cat"].map(String::from).to_vec();
    let format = Format { shape: Shape::Vector { features: 4 }, dtype: Dtype::F32, scale: 1.0, classes };
    let parts = Parts { source: Some(Box::new(Rows { format, told, next: 0 })), method: None };
    let options = Options { state: Some(folder.path().into()), ..Options::default() };
    let summary = run_with(parts, &job, &options, Default::default()).unwrap();
    let history = History::read(folder.path()).unwrap();
    let reports: Vec<Report> =
        (1..=rows / EPOCH).map(|epoch| history.report(epoch).unwrap().unwrap()).collect();
    for report in &reports {
        let finite = |values: Vec<Option<f64>>| values.into_iter().flatten().all(f64::is_finite);
        assert!(finite(report.job.values()), "{:?}", report.job);
        assert!(report.classes.iter().all(|class| finite(class.meters.values())), "{:?}", report.classes);
    }
    assert_eq!((summary.skipped_updates, summary.unfit_samples), (0, 0));
    (summary, reports)
}

/// Returns the report of the epoch that ends after so many rows.
fn after(reports: &[Report], rows: u64) -> &Report {
    &reports[(rows / EPOCH) as usize - 1]
}

/// Returns the shares of network, kinds of experts and present prior.
fn shares(report: &Report) -> [f64; 7] {
    let job = &report.job;
    let shares = [
        job.network_share,
        job.discriminants_share,
        job.random_features_share,
        job.neighbours_share,
        job.rescaled_share,
        job.forest_share,
        job.prior_share,
    ];
    shares.map(Option::unwrap)
}

/// Returns the share of those who foretell best here: the network, and the discriminants that can bend their border. Of two
/// that are equally good, now one and now the other has more.
fn share_of_the_best(report: &Report) -> f64 {
    report.job.network_share.unwrap() + report.job.random_features_share.unwrap()
}

fn apart(one: &Report, other: &Report) -> f64 {
    shares(one).into_iter().zip(shares(other)).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
}

fn accuracy(report: &Report) -> f64 {
    report.job.accuracy.unwrap()
}

#[test]
fn a_class_that_appears_late_is_learned_and_told() {
    const APPEARS: u64 = 1500;
    let late = Told { class: |row| if row < APPEARS { any(row) % 2 } else { any(row) }, ..WELL };
    let (_, told) = reports(late, APPEARS + RECOVERED);
    let of_cat = |rows: u64| &after(&told, rows).classes[2].meters;
    assert!(of_cat(APPEARS).accuracy.unwrap() < 0.1, "{:?}", of_cat(APPEARS));
    let (_, well) = reports(WELL, APPEARS + RECOVERED);
    let (found, expected) = (after(&told, APPEARS + RECOVERED), after(&well, APPEARS + RECOVERED));
    assert!(of_cat(APPEARS + RECOVERED).accuracy.unwrap() > 0.75, "{:?}", of_cat(APPEARS + RECOVERED));
    assert!(accuracy(found) > accuracy(expected) - 0.04, "{} {}", accuracy(found), accuracy(expected));
    // The report says when: the samples of the class were answered otherwise, then with it.
    assert_eq!(of_cat(APPEARS).judged, Some(0.0));
    assert!(of_cat(APPEARS + RECOVERED).judged.unwrap() > 20.0);
}

#[test]
fn labels_that_stop_leave_answers_as_good_as_they_were() {
    const LAST: u64 = 1000;
    let stop = Told { label: |row, class| (row < LAST).then_some(class), ..WELL };
    let (summary, told) = reports(stop, 4000);
    let (then, now) = (after(&told, LAST + EPOCH), told.last().unwrap());
    assert!(accuracy(now) > accuracy(then) - 0.03, "{} {}", accuracy(now), accuracy(then));
    // Nothing judges the shares any longer: they stay. The report tells of no further label.
    assert_eq!(shares(now), shares(then));
    assert_eq!(now.job.late_labels, then.job.late_labels);
    assert!(summary.late_labels > LAST / 3 && summary.late_labels < LAST * 2 / 3);
    assert_eq!(then.job.prequential_accuracy, None, "no class is known");
}

#[test]
fn wrong_labels_for_a_while_are_told_and_forgotten() {
    const FROM: u64 = 1500;
    let (_, well) = reports(WELL, FROM + 1000 + RECOVERED);
    let noisy: fn(u64, usize) -> Option<usize> = |row, class| {
        let wrong = (FROM..FROM + 1000).contains(&row) && drawn(row, 77) < 0.3;
        Some(if wrong { (class + 1 + row as usize % 2) % 3 } else { class })
    };
    let wrong: fn(u64, usize) -> Option<usize> =
        |row, class| Some((class + usize::from((FROM..FROM + 300).contains(&row))) % 3);
    for (label, rows, least_told) in [(noisy, 1000, 0.15), (wrong, 300, 0.4)] {
        let (_, told) = reports(Told { label, ..WELL }, FROM + rows + RECOVERED);
        let (last, end) = (FROM + rows, FROM + rows + RECOVERED);
        // While it lasts, answers and labels are apart, and the report says so.
        let lost = |rows: u64| {
            let of = |reports: &[Report]| after(reports, rows).job.prequential_accuracy.unwrap();
            of(&well) - of(&told)
        };
        let most = (FROM / EPOCH + 1..=last / EPOCH).map(|epoch| lost(epoch * EPOCH)).fold(0.0, f64::max);
        assert!(most > least_told, "{most}");
        let (found, expected) = (after(&told, end), after(&well, end));
        // The shares leave those of the job that is told well, and come back.
        let away = (FROM / EPOCH + 1..=end / EPOCH).map(|epoch| epoch * EPOCH);
        let away = away.map(|rows| apart(after(&told, rows), after(&well, rows))).fold(0.0, f64::max);
        assert!(away > 0.3, "{away}");
        let [best, expected_best] = [found, expected].map(share_of_the_best);
        assert!((best - expected_best).abs() < 0.2, "{:?} {:?}", shares(found), shares(expected));
        assert!(accuracy(found) > accuracy(expected) - 0.04, "{} {}", accuracy(found), accuracy(expected));
    }
}
