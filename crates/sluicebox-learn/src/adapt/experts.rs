//! Experts: simple learners beside the network that learn labelled samples at once, without training passes. Each counts by
//! how well it foretold the labels that came ([`crate::adapt::shares`]); together they give one answer, the geometric mean
//! of theirs. They also show how fast the stream forgets: labelled samples are replayed by the shares of the
//! discriminants' forgetting rates.
//!
//! Experts work on the host, on features of the input ([`crate::adapt::features`]), standardised and ranked
//! ([`crate::adapt::scaling`]). Where late labels are possible but not certain, no share is trusted until [`EVIDENCE`] of
//! them have been foretold: until then labelled samples are replayed uniformly, and the network answers alone.

use crate::adapt::awaiting_rows::AwaitingRows;
use crate::adapt::discriminant::{Discriminants, normalise};
use crate::adapt::labelled_rows::LabelledRows;
use crate::adapt::neighbours;
use crate::adapt::random_features::{self, RandomFeatures};
use crate::adapt::scaling::{self, Scaling};
use crate::adapt::shares::{LEAST, Shares};
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use std::sync::Arc;

/// Number of finite time constants of the discriminants: 10, 20, … 1,280 labels; an infinite one is added.
const FINITE: usize = 8;
/// Least time constant, in labels.
const FASTEST: f64 = 10.0;
/// Time constants of the discriminants of random features, in labels.
const OF_RANDOM_FEATURES: [f64; 5] = [20.0, 80.0, 320.0, 1280.0, f64::INFINITY];
/// Labels to foretell before shares are trusted, where late labels are possible but not certain.
pub const EVIDENCE: u64 = 20;
/// Maximum multiplications per row and kind: of many classes or features, fewer discriminants are kept.
const COST: usize = 100_000;
/// Fraction of the labels' class prior kept with each label.
const PRIOR_STAYS: f64 = 1.0 - 1.0 / 400.0;
/// Steps after which predictions outside the dataflow see what experts have learned since.
const SNAPSHOT_STEPS: u64 = 16;

/// Kinds of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Linear discriminants ([`crate::adapt::discriminant`]), one per forgetting rate.
    Discriminants,
    /// Discriminants of the features and of random ones ([`crate::adapt::random_features`]).
    RandomFeatures,
    /// Nearest neighbours ([`crate::adapt::neighbours`]).
    Neighbours,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Discriminants, Kind::RandomFeatures, Kind::Neighbours];
}

/// Returns the discriminants' time constants in labels.
pub fn time_constants() -> Vec<f64> {
    let finite = (0..FINITE).map(|power| FASTEST * f64::from(1u32 << power));
    finite.chain([f64::INFINITY]).collect()
}

/// Experts that look at one half of a scaled row: the standardised values, or the ranks.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Group {
    Discriminants(Discriminants),
    RandomFeatures(Discriminants),
    Neighbours,
}

/// What experts predict with.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Learned {
    classes: usize,
    features: usize,
    scaling: Scaling,
    /// Of each kind, that of the standardised values and that of the ranks.
    groups: Vec<[Group; 2]>,
    labelled: LabelledRows,
    shares: Shares,
}

/// The experts of a job.
pub struct Experts {
    learned: Learned,
    random: Arc<[RandomFeatures; 2]>,
    kinds: Vec<Kind>,
    /// Time constants of the discriminants, in labels.
    time_constants: Vec<f64>,
    awaiting: AwaitingRows,
    /// Whether the labels' class prior is that of the newest few hundred, or of all.
    pub recent_prior: bool,
    /// `[C]`: number of labels of each class, and the same faded.
    counts: Vec<f64>,
    recent: Vec<f64>,
    /// Number of labels foretold so far, and the number after which shares are trusted.
    foretold: u64,
    evidence: u64,
    snapshot: Option<Arc<Snapshot>>,
}

/// What experts answer with outside the dataflow. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    learned: Learned,
    random: Arc<[RandomFeatures; 2]>,
}

/// Answers of the experts for labels that came, before they were learned.
#[derive(Debug, PartialEq)]
pub struct Foretold {
    /// `[N, C]` log probabilities.
    pub answers: Vec<f32>,
    /// `[N]`: the steps in which the samples streamed by.
    pub steps: Vec<u64>,
}

/// Checkpointed state.
#[derive(Serialize, Deserialize)]
struct State {
    kinds: Vec<Kind>,
    learned: Learned,
    awaiting: AwaitingRows,
    counts: Vec<f64>,
    recent: Vec<f64>,
    foretold: u64,
}

impl Experts {
    /// Creates experts of `kinds` for rows of `features` features that have learned nothing. They keep `window` rows that
    /// await a label, and are trusted after `evidence` labels were foretold.
    pub fn new(kinds: &[Kind], features: usize, classes: usize, window: usize, evidence: u64) -> Self {
        let thinned = |constants: &[f64], features: usize| -> Vec<f64> {
            let most = (COST / (features * classes).max(1)).clamp(1, constants.len());
            // The slowest is always one of them.
            (0..most).map(|at| constants[constants.len() - 1 - at * constants.len() / most]).rev().collect()
        };
        let constants = thinned(&time_constants(), features);
        let both = |group: Group| [group.clone(), group];
        let group = |kind: &Kind| match kind {
            Kind::Discriminants => {
                both(Group::Discriminants(Discriminants::new(&constants, classes, features)))
            }
            Kind::RandomFeatures => {
                let features = features + random_features::COUNT;
                let constants = thinned(&OF_RANDOM_FEATURES, features);
                both(Group::RandomFeatures(Discriminants::new(&constants, classes, features)))
            }
            Kind::Neighbours => both(Group::Neighbours),
        };
        let groups: Vec<[Group; 2]> = kinds.iter().map(group).collect();
        // Each kind begins with the same share, so that many experts of one kind do not outvote another.
        let counts: Vec<usize> = groups.iter().flatten().map(Group::count).collect();
        let start =
            counts.iter().flat_map(|count| vec![1.0 / (counts.len() * count) as f64; *count]).collect();
        Self {
            learned: Learned {
                classes,
                features,
                scaling: Scaling::new(features),
                groups,
                labelled: LabelledRows::new(features),
                shares: Shares::new(start),
            },
            random: Arc::new([0, 1].map(|half| RandomFeatures::new(features, half))),
            kinds: kinds.to_vec(),
            time_constants: constants,
            awaiting: AwaitingRows::new(window, scaling::bytes(features)),
            recent_prior: true,
            counts: vec![0.0; classes],
            recent: vec![0.0; classes],
            foretold: 0,
            evidence,
            snapshot: None,
        }
    }

    /// Returns the discriminants' time constants in labels.
    pub fn time_constants(&self) -> &[f64] {
        &self.time_constants
    }

    /// Returns whether enough labels have been foretold to compare the experts.
    pub fn trusted(&self) -> bool {
        self.foretold >= self.evidence
    }

    /// Returns `[C]`: the class prior of the labels, with one pseudo-count per class.
    pub fn prior(&self) -> Vec<f32> {
        let counts = if self.recent_prior { &self.recent } else { &self.counts };
        let sum = counts.iter().sum::<f64>() + counts.len() as f64;
        counts.iter().map(|count| ((count + 1.0) / sum) as f32).collect()
    }

    /// Returns `[K]`: the shares of the forgetting rates, by the discriminants that have them; all on the slowest until they
    /// are trusted.
    pub fn rates(&self) -> Vec<f64> {
        let slowest = self.time_constants.len() - 1;
        let of_kind = self.kinds.iter().position(|kind| *kind == Kind::Discriminants);
        let Some(place) = of_kind.filter(|_| self.trusted()) else {
            return (0..=slowest).map(|rate| if rate == slowest { 1.0 } else { 0.0 }).collect();
        };
        let first: usize = self.learned.groups[..place].iter().flatten().map(Group::count).sum();
        let shares = self.learned.shares.now();
        let (one, other) = (&shares[first..], &shares[first + slowest + 1..]);
        let rates: Vec<f64> = (0..=slowest).map(|rate| one[rate] + other[rate]).collect();
        let sum: f64 = rates.iter().sum();
        rates.into_iter().map(|rate| rate / sum).collect()
    }

    /// Returns the share of each kind.
    pub fn shares(&self) -> Vec<(Kind, f64)> {
        let shares = self.learned.shares.now();
        let mut first = 0;
        let of = |(kind, groups): (&Kind, &[Group; 2])| {
            let count: usize = groups.iter().map(Group::count).sum();
            first += count;
            (*kind, shares[first - count..first].iter().sum())
        };
        self.kinds.iter().zip(&self.learned.groups).map(of).collect()
    }

    /// Learns samples that the source delivered labelled: features `rows` `[N, F]` and their classes.
    pub fn add(&mut self, rows: &[f32], classes: &[i64]) {
        self.learned.scaling.add_all(rows);
        let mut scaled = Vec::new();
        self.learned.scaling.scale(rows, &mut scaled);
        let labelled = scaled.chunks_exact(scaling::bytes(self.learned.features)).zip(classes);
        labelled.for_each(|(row, class)| self.learn_row(None, *class as u32, row));
    }

    /// Takes in the unlabelled samples of a step: features `[B, F]`. Returns `[B, 2 F]`: the rows scaled.
    pub fn stream(&mut self, step: u64, ids: &[u64], rows: &[f32]) -> Vec<u8> {
        self.learned.scaling.add(rows);
        let mut scaled = Vec::new();
        self.learned.scaling.scale(rows, &mut scaled);
        let of_row = scaled.chunks_exact(scaling::bytes(self.learned.features));
        ids.iter().zip(of_row).for_each(|(id, row)| self.awaiting.push(*id, step, row));
        scaled
    }

    /// Learns late labels of samples with features `rows` `[N, F]`, after scoring each expert by what it says of them.
    /// Returns the experts' answers for them from before; none if there was no label to know anything from.
    pub fn learn(&mut self, step: u64, ids: &[u64], rows: &[f32], classes: &[i64]) -> Option<Foretold> {
        let mut labelled = Vec::new();
        for ((id, class), row) in ids.iter().zip(classes).zip(rows.chunks_exact(self.learned.features)) {
            let mut scaled = Vec::new();
            let streamed = match self.awaiting.find(*id) {
                Some((row, streamed)) => {
                    scaled.extend(row);
                    streamed
                }
                None => {
                    self.learned.scaling.scale(row, &mut scaled);
                    step
                }
            };
            labelled.push((*id, *class, scaled, streamed));
        }
        let known = self.learned.labelled.len() > 0;
        let foretold = known.then(|| {
            let said: Vec<Vec<f32>> =
                labelled.iter().map(|(_, _, row, _)| self.learned.each(row, &self.random)).collect();
            let shares = self.learned.shares.now();
            let answers = said.iter().flat_map(|each| self.learned.pool(each, &shares)).collect();
            for (each, (_, class, ..)) in said.iter().zip(&labelled) {
                let of_class = each.iter().skip(*class as usize).step_by(self.learned.classes);
                self.learned.shares.learn(&of_class.copied().collect::<Vec<f32>>());
            }
            self.foretold += labelled.len() as u64;
            Foretold { answers, steps: labelled.iter().map(|(.., streamed)| *streamed).collect() }
        });
        labelled.iter().for_each(|(id, class, row, _)| self.learn_row(Some(*id), *class as u32, row));
        foretold
    }

    fn learn_row(&mut self, id: Option<u64>, class: u32, row: &[u8]) {
        let mut values = Vec::new();
        scaling::values(row, &mut values);
        self.learned.labelled.push(id, class, row, &values);
        self.learned.teach(&values, class as usize, &self.random);
        self.counts[class as usize] += 1.0;
        self.recent.iter_mut().for_each(|count| *count *= PRIOR_STAYS);
        self.recent[class as usize] += 1.0;
    }

    /// Corrects the label of a sample, or withdraws it: the experts learn the labelled rows anew.
    pub fn correct(&mut self, id: u64, class: Option<u32>) {
        if self.learned.labelled.correct(id, class) {
            self.relearn();
        }
    }

    /// Handles a drift alarm: multiplies the weight of everything learned so far by `keeps`.
    pub fn decay_weights(&mut self, keeps: f64) {
        self.learned.labelled.note_alarm(keeps);
        self.learned.groups.iter_mut().flatten().for_each(|group| group.fade(keeps));
    }

    fn relearn(&mut self) {
        let fresh = Experts::new(&self.kinds, self.learned.features, self.learned.classes, 0, 0);
        self.learned.groups = fresh.learned.groups;
        (self.counts, self.recent) = (fresh.counts, fresh.recent);
        let labelled = std::mem::replace(&mut self.learned.labelled, fresh.learned.labelled);
        let mut values = Vec::new();
        for (rows, keeps) in labelled.between_alarms() {
            for (row, class) in rows {
                scaling::values(row, &mut values);
                self.learned.teach(&values, class, &self.random);
                self.counts[class] += 1.0;
                self.recent.iter_mut().for_each(|count| *count *= PRIOR_STAYS);
                self.recent[class] += 1.0;
            }
            self.learned.groups.iter_mut().flatten().for_each(|group| group.fade(keeps));
        }
        self.learned.labelled = labelled;
    }

    /// Returns the experts' answers `[N, C]`, log probabilities, for scaled rows `[N, 2 F]`.
    pub fn answer(&self, scaled: &[u8]) -> Vec<f32> {
        self.learned.answer(scaled, &self.random)
    }

    /// Returns whether there are labels to answer from.
    pub fn knows(&self) -> bool {
        self.learned.labelled.len() > 0
    }

    /// Returns what answers outside the dataflow are made with. It is renewed every few steps, and where `now` asks for it.
    pub fn snapshot(&mut self, step: u64, now: bool) -> Arc<Snapshot> {
        if self.snapshot.is_none() || now || step.is_multiple_of(SNAPSHOT_STEPS) {
            self.snapshot = None;
        }
        let fresh = || Arc::new(Snapshot { learned: self.learned.clone(), random: self.random.clone() });
        self.snapshot.get_or_insert_with(fresh).clone()
    }
}

impl Snapshot {
    /// Returns the experts' answers `[N, C]`, log probabilities, for features `rows` `[N, F]`.
    pub fn answer(&self, rows: &[f32]) -> Vec<f32> {
        let mut scaled = Vec::new();
        self.learned.scaling.scale(rows, &mut scaled);
        self.learned.answer(&scaled, &self.random)
    }
}

impl Group {
    /// Returns the number of experts.
    fn count(&self) -> usize {
        match self {
            Group::Discriminants(discriminants) | Group::RandomFeatures(discriminants) => {
                discriminants.count()
            }
            Group::Neighbours => neighbours::WINDOWS.len(),
        }
    }

    fn fade(&mut self, keeps: f64) {
        match self {
            Group::Discriminants(discriminants) | Group::RandomFeatures(discriminants) => {
                discriminants.fade(keeps)
            }
            Group::Neighbours => {}
        }
    }
}

impl Learned {
    fn teach(&mut self, values: &[f32], class: usize, random: &[RandomFeatures; 2]) {
        let mut row = Vec::new();
        for (half, random) in random.iter().enumerate() {
            row.clear();
            row.extend(&values[half * self.features..(half + 1) * self.features]);
            random.append(&mut row);
            for groups in &mut self.groups {
                match &mut groups[half] {
                    Group::Discriminants(discriminants) => discriminants.learn(&row[..self.features], class),
                    Group::RandomFeatures(discriminants) => discriminants.learn(&row, class),
                    Group::Neighbours => {}
                }
            }
        }
    }

    /// Returns `[E, C]`: each expert's log probabilities for a scaled row.
    fn each(&self, scaled: &[u8], random: &[RandomFeatures; 2]) -> Vec<f32> {
        let experts: usize = self.groups.iter().flatten().map(Group::count).sum();
        let mut out = vec![0.0; experts * self.classes];
        let (mut values, mut rest) = (Vec::new(), &mut out[..]);
        scaling::values(scaled, &mut values);
        let rows: [Vec<f32>; 2] = [0, 1].map(|half| {
            let mut row = values[half * self.features..(half + 1) * self.features].to_vec();
            random[half].append(&mut row);
            row
        });
        for groups in &self.groups {
            for (half, group) in groups.iter().enumerate() {
                let own;
                (own, rest) = rest.split_at_mut(group.count() * self.classes);
                match group {
                    Group::Discriminants(discriminants) => {
                        discriminants.predict(&rows[half][..self.features], own)
                    }
                    Group::RandomFeatures(discriminants) => discriminants.predict(&rows[half], own),
                    Group::Neighbours => {
                        let first = half * self.features;
                        let labelled = self
                            .labelled
                            .newest()
                            .map(|(row, class)| (&row[first..first + self.features], class));
                        neighbours::predict(&rows[half][..self.features], labelled, own);
                    }
                }
            }
        }
        out.iter_mut().for_each(|log| *log = log.max(LEAST.ln() as f32));
        out
    }

    /// Returns `[C]`: the geometric mean, by their shares, of the experts' answers `[E, C]`.
    fn pool(&self, each: &[f32], shares: &[f64]) -> Vec<f32> {
        let mut answer = vec![0.0; self.classes];
        for (each, share) in each.chunks_exact(self.classes).zip(shares) {
            answer.iter_mut().zip(each).for_each(|(answer, log)| *answer += *share as f32 * log);
        }
        normalise(&mut answer);
        answer
    }

    fn answer(&self, scaled: &[u8], random: &[RandomFeatures; 2]) -> Vec<f32> {
        let shares = self.shares.now();
        let rows = scaled.chunks_exact(scaling::bytes(self.features));
        rows.flat_map(|row| self.pool(&self.each(row, random), &shares)).collect()
    }
}

impl Experts {
    /// Returns to a saved state; returns false, and changes nothing, where it has other kinds of experts.
    pub fn load_matching(&mut self, state: &[u8]) -> Result<bool> {
        let state: State = decode(WHAT, state)?;
        let size = |learned: &Learned| (learned.features, learned.classes);
        if state.kinds != self.kinds || size(&state.learned) != size(&self.learned) {
            return Ok(false);
        }
        (self.learned, self.awaiting) = (state.learned, state.awaiting);
        (self.counts, self.recent, self.foretold) = (state.counts, state.recent, state.foretold);
        self.learned.labelled.restore();
        self.awaiting.restore();
        Ok(true)
    }
}

/// The state's name in messages.
const WHAT: &str = "the experts";

impl Stateful for Experts {
    fn save(&self) -> Result<Vec<u8>> {
        encode(
            WHAT,
            &State {
                kinds: self.kinds.clone(),
                learned: self.learned.clone(),
                awaiting: self.awaiting.clone(),
                counts: self.counts.clone(),
                recent: self.recent.clone(),
                foretold: self.foretold,
            },
        )
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        match self.load_matching(state)? {
            true => Ok(()),
            false => Err(Error::Request(format!("the state of {WHAT} does not fit the job"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two features; class 0 lies on the left until row `turns`, then on the right.
    fn row(at: usize, turns: usize) -> ([f32; 2], i64) {
        let (class, turn) = (at % 2, at as f32 * 0.7);
        let side = if (class == 0) == (at < turns) { -2.0 } else { 2.0 };
        ([side + turn.sin(), turn.cos()], class as i64)
    }

    fn experts() -> Experts {
        Experts::new(&Kind::ALL, 2, 2, 50, 7)
    }

    /// Rows stream by one by one, and each gets its label at once.
    fn stream(experts: &mut Experts, range: std::ops::Range<usize>, turns: usize) -> usize {
        let mut right = 0;
        for at in range {
            let (row, class) = row(at, turns);
            let scaled = experts.stream(at as u64, &[at as u64], &row);
            let answer = experts.answer(&scaled);
            right += usize::from(answer[class as usize] > 0.5f32.ln());
            experts.learn(at as u64, &[at as u64], &row, &[class]);
        }
        right
    }

    #[test]
    fn they_learn_a_stream_and_follow_its_change() {
        let mut experts = experts();
        assert!(!experts.knows());
        stream(&mut experts, 0..100, 200);
        assert!(stream(&mut experts, 100..200, 200) > 97);
        let before = experts.rates();
        stream(&mut experts, 200..240, 200);
        assert!(stream(&mut experts, 240..340, 200) > 90);
        let after = experts.rates();
        let fast = |rates: &[f64]| rates[..3].iter().sum::<f64>();
        assert!(fast(&after) > fast(&before), "{before:?} {after:?}");
        let sum: f64 = experts.shares().iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9 && (after.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_label_is_learned_with_what_its_row_was_when_it_streamed_by() {
        let (mut late, mut at_once) = (experts(), experts());
        for at in 0..40u64 {
            let (row, class) = row(at as usize, 100);
            at_once.stream(at, &[at], &row);
            late.stream(at, &[at], &row);
            at_once.learn(at, &[at], &row, &[class]);
        }
        for at in 0..40u64 {
            let (row, class) = row(at as usize, 100);
            let foretold = late.learn(99, &[at], &row, &[class]);
            assert!(at == 0 || foretold.unwrap().steps == [at]);
        }
        let scaled = late.stream(40, &[40], &[1.0, 0.0]);
        assert_eq!(at_once.stream(40, &[40], &[1.0, 0.0]), scaled);
        assert_eq!(late.answer(&scaled), at_once.answer(&scaled));
    }

    #[test]
    fn restored_experts_go_on_alike() {
        let (mut first, mut second) = (experts(), experts());
        stream(&mut first, 0..70, 50);
        second.load(&first.save().unwrap()).unwrap();
        for experts in [&mut first, &mut second] {
            stream(experts, 70..90, 50);
            experts.correct(75, Some(1));
            experts.decay_weights(0.5);
            stream(experts, 90..95, 50);
        }
        assert_eq!(first.save().unwrap(), second.save().unwrap());
        let (one, other) = (first.snapshot(1, true), second.snapshot(1, true));
        assert_eq!(one.answer(&[0.3, 0.4, -1.0, 2.0]), other.answer(&[0.3, 0.4, -1.0, 2.0]));
        assert!(experts().load(b"bad").is_err());
        assert!(
            !Experts::new(&[Kind::Neighbours], 2, 2, 50, 7).load_matching(&first.save().unwrap()).unwrap()
        );
    }

    #[test]
    fn only_labels_that_were_foretold_are_evidence() {
        let mut experts = experts();
        experts.add(&[1.0; 100], &[0; 50]);
        assert!(!experts.trusted() && experts.knows());
        assert_eq!(experts.rates()[..2], [0.0, 0.0]);
        stream(&mut experts, 0..6, 100);
        assert!(!experts.trusted());
        stream(&mut experts, 6..7, 100);
        assert!(experts.trusted());
    }

    #[test]
    fn a_corrected_label_leaves_no_trace_of_the_wrong_one() {
        let (mut corrected, mut plain) = (experts(), experts());
        for (at, wrong) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
            let (row, class) = row(at, 100);
            for (experts, class) in [(&mut corrected, wrong), (&mut plain, class)] {
                experts.stream(at as u64, &[at as u64], &row);
                experts.learn(at as u64, &[at as u64], &row, &[class]);
            }
        }
        corrected.correct(1, Some(1));
        corrected.correct(99, Some(1));
        let scaled = plain.stream(5, &[5], &[0.5, 0.1]);
        let each = |experts: &Experts| experts.learned.each(&scaled, &experts.random);
        assert_eq!(each(&corrected), each(&plain));
        assert_eq!(corrected.prior(), plain.prior());
        corrected.correct(1, None);
        assert_ne!(corrected.prior(), plain.prior());
    }

    #[test]
    fn of_many_classes_fewer_discriminants_are_kept() {
        assert_eq!(Experts::new(&Kind::ALL, 33, 6, 0, 0).time_constants(), time_constants());
        assert_eq!(Experts::new(&Kind::ALL, 64, 1000, 0, 0).time_constants(), [f64::INFINITY]);
        let some = Experts::new(&Kind::ALL, 100, 300, 0, 0);
        assert_eq!((some.time_constants().len(), some.time_constants()[2]), (3, f64::INFINITY));
    }

    #[test]
    fn a_fill_value_or_a_class_that_appears_late_does_no_harm() {
        let mut experts = experts();
        stream(&mut experts, 0..50, 100);
        experts.stream(50, &[50], &[1e20, -1e20]);
        experts.learn(50, &[50], &[1e20, -1e20], &[1]);
        assert!(stream(&mut experts, 51..100, 100) > 45);
        let mut three = Experts::new(&Kind::ALL, 2, 3, 50, 0);
        (0..60)
            .for_each(|at| _ = three.learn(at, &[at], &row(at as usize, 100).0, &[row(at as usize, 100).1]));
        (60..90).for_each(|at| _ = three.learn(at, &[at], &[0.0, 9.0], &[2]));
        let scaled = three.stream(99, &[99], &[0.0, 9.0]);
        assert!(three.answer(&scaled)[2].exp() > 0.8, "{:?}", three.answer(&scaled));
    }
}
