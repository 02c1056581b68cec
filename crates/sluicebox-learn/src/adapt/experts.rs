//! Experts: simple learners beside the network that learn labelled samples at once, without training passes. Each counts by
//! how well it foretold the labels that came ([`crate::adapt::shares`]); together they give one answer, the geometric mean
//! of theirs. They also show how fast the stream forgets: labelled samples are replayed by the shares of the
//! discriminants' forgetting rates.
//!
//! Experts work on the host, on features of the input ([`crate::adapt::features`]), standardised and ranked
//! ([`crate::adapt::scaling`]). Where late labels are possible but not certain, no share is trusted until [`EVIDENCE`] of
//! them have been foretold: until then labelled samples are replayed uniformly, and the network answers alone.

use crate::adapt::awaiting_rows::AwaitingRows;
use crate::adapt::learned::{Group, Kind, Learned, thinned, time_constants};
use crate::adapt::random_features::RandomFeatures;
use crate::adapt::scaling;
use crate::adapt::shares::LEARNERS;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use std::sync::Arc;

/// Labels to foretell before shares are trusted, where late labels are possible but not certain.
pub const EVIDENCE: u64 = 20;
/// Fraction of the labels' class prior kept with each label.
const PRIOR_STAYS: f64 = 1.0 - 1.0 / 400.0;
/// Steps after which predictions outside the dataflow see what experts have learned since.
const SNAPSHOT_STEPS: u64 = 16;

/// The experts of a job.
pub struct Experts {
    pub(super) learned: Learned,
    pub(super) random: Arc<[RandomFeatures; 2]>,
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
    /// Whether labels of rows that were learned have been corrected since.
    is_stale: bool,
    snapshot: Option<Arc<Snapshot>>,
}

/// What experts answer with outside the dataflow. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) learned: Learned,
    pub(super) random: Arc<[RandomFeatures; 2]>,
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
        Self {
            learned: Learned::new(kinds, features, classes),
            random: Arc::new([0, 1].map(|half| RandomFeatures::new(features, half))),
            kinds: kinds.to_vec(),
            time_constants: thinned(&time_constants(), features, classes),
            awaiting: AwaitingRows::new(window, scaling::bytes(features)),
            recent_prior: true,
            counts: vec![0.0; classes],
            recent: vec![0.0; classes],
            foretold: 0,
            evidence,
            is_stale: false,
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

    /// Learns samples that the source delivered labelled: features `rows` `[N, F]` and their classes.
    pub fn add(&mut self, rows: &[f32], classes: &[i64]) {
        self.learned.scaling.add_all(rows);
        let mut scaled = Vec::new();
        self.learned.scaling.scale(rows, &mut scaled);
        let labelled = scaled.chunks_exact(scaling::bytes(self.learned.features)).zip(classes);
        labelled.for_each(|(row, class)| self.add_row(None, *class as u32, [row, row]));
        self.learned.solve(true);
        self.learned.grow(true);
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
    /// Discriminants and forests learn them with [`Experts::renew`].
    pub fn learn(&mut self, step: u64, ids: &[u64], rows: &[f32], classes: &[i64]) -> Option<Foretold> {
        let mut now = Vec::new();
        self.learned.scaling.scale(rows, &mut now);
        let mut labelled = Vec::new();
        let rows = now.chunks_exact(scaling::bytes(self.learned.features));
        for ((id, class), now) in ids.iter().zip(classes).zip(rows) {
            let (then, streamed) = self.awaiting.find(*id).unwrap_or((now, step));
            labelled.push((*id, *class, [then.to_vec(), now.to_vec()], streamed));
        }
        let known = !self.learned.labelled.is_empty();
        let foretold = known.then(|| {
            let said: Vec<Vec<f32>> =
                labelled.iter().map(|(_, _, [then, _], _)| self.learned.each(then, &self.random)).collect();
            let shares = self.learned.shares.now();
            let answers = said.iter().flat_map(|each| self.learned.pool(each, &shares)).collect();
            for (each, (_, class, ..)) in said.iter().zip(&labelled) {
                let of_class = each.iter().skip(*class as usize).step_by(self.learned.classes);
                self.learned.shares.learn(&of_class.copied().collect::<Vec<f32>>(), &LEARNERS);
            }
            self.foretold += labelled.len() as u64;
            Foretold { answers, steps: labelled.iter().map(|(.., streamed)| *streamed).collect() }
        });
        for (id, class, [then, now], _) in &labelled {
            self.add_row(Some(*id), *class as u32, [then, now]);
        }
        foretold
    }

    /// Makes the learned labels take effect: solves the discriminants and grows the trees that are due. It takes longer than all
    /// else, and so comes after the step's answers.
    pub fn renew(&mut self) {
        self.learned.solve(false);
        self.learned.grow(false);
    }

    fn add_row(&mut self, id: Option<u64>, class: u32, scaled: [&[u8]; 2]) {
        self.learned.labelled.push(id, class, scaled);
        self.teach(scaled, class as usize);
    }

    fn teach(&mut self, scaled: [&[u8]; 2], class: usize) {
        let [then, now] = scaled.map(scaling::values);
        self.learned.add([&then, &now], class, &self.random);
        self.counts[class] += 1.0;
        self.recent.iter_mut().for_each(|count| *count *= PRIOR_STAYS);
        self.recent[class] += 1.0;
    }

    /// Corrects the label of a sample, or withdraws it. It takes effect with [`Experts::relearn`].
    pub fn correct(&mut self, id: u64, class: Option<u32>) {
        self.is_stale |= self.learned.labelled.correct(id, class);
    }

    /// Handles a drift alarm: multiplies the weight of everything learned so far by `keeps`.
    pub fn decay_weights(&mut self, keeps: f64) {
        self.learned.labelled.note_alarm(keeps);
        for group in self.learned.groups.iter_mut().flatten() {
            group.fade(keeps);
            group.discriminants().into_iter().for_each(|discriminants| discriminants.solve(true));
        }
    }

    /// Learns the labelled rows anew, if labels of theirs were corrected.
    pub fn relearn(&mut self) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let fresh = Experts::new(&self.kinds, self.learned.features, self.learned.classes, 0, 0);
        self.learned.groups = fresh.learned.groups;
        (self.counts, self.recent) = (fresh.counts, fresh.recent);
        let labelled = std::mem::replace(&mut self.learned.labelled, fresh.learned.labelled);
        for (rows, keeps) in labelled.between_alarms() {
            rows.into_iter().for_each(|(scaled, class)| self.teach(scaled, class));
            self.learned.groups.iter_mut().flatten().for_each(|group| group.fade(keeps));
        }
        self.learned.labelled = labelled;
        self.learned.solve(true);
        self.learned.grow(true);
    }

    /// Returns the experts' answers `[N, C]`, log probabilities, for scaled rows `[N, 2 F]`.
    pub fn answer(&self, scaled: &[u8]) -> Vec<f32> {
        self.learned.answer(scaled, &self.random)
    }

    /// Returns whether there are labels to answer from.
    pub fn knows(&self) -> bool {
        !self.learned.labelled.is_empty()
    }

    /// Returns whether what answers outside the dataflow are made with is renewed in this step.
    pub fn snapshot_is_due(&self, step: u64) -> bool {
        self.snapshot.is_none() || step.is_multiple_of(SNAPSHOT_STEPS)
    }

    /// Returns what answers outside the dataflow are made with. It is renewed every few steps, and where `now` asks for it.
    pub fn snapshot(&mut self, step: u64, now: bool) -> Arc<Snapshot> {
        if now || self.snapshot_is_due(step) {
            self.snapshot = None;
        }
        let fresh = || Arc::new(Snapshot { learned: self.learned.clone(), random: self.random.clone() });
        self.snapshot.get_or_insert_with(fresh).clone()
    }
}

impl Snapshot {
    /// Returns the share of each kind in the experts' answer.
    pub fn kinds(&self) -> Vec<(Kind, f64)> {
        self.learned.kinds()
    }

    /// Returns the experts' answers `[N, C]`, log probabilities, for features `rows` `[N, F]`.
    pub fn answer(&self, rows: &[f32]) -> Vec<f32> {
        let mut scaled = Vec::new();
        self.learned.scaling.scale(rows, &mut scaled);
        self.learned.answer(&scaled, &self.random)
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
