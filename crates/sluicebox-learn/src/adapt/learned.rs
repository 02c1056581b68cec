//! Kinds of experts, what they have learned, and their common answer.

use crate::adapt::discriminant::{Discriminants, normalise};
use crate::adapt::forest::Forest;
use crate::adapt::labelled_rows::LabelledRows;
use crate::adapt::neighbours;
use crate::adapt::random_features::{self, RandomFeatures};
use crate::adapt::scaling::{self, Scaling};
use crate::adapt::shares::{LEAST, Shares};
use serde::{Deserialize, Serialize};

/// Number of finite time constants of the discriminants: 10, 20, … 1,280 labels; an infinite one is added.
const FINITE: usize = 8;
/// Least time constant, in labels.
const FASTEST: f64 = 10.0;
/// Time constants of the discriminants of random features, in labels.
const OF_RANDOM_FEATURES: [f64; 5] = [20.0, 80.0, 320.0, 1280.0, f64::INFINITY];
/// Maximum multiplications per row and kind: of many classes or features, fewer discriminants are kept.
const COST: usize = 100_000;

/// Kinds of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Linear discriminants ([`crate::adapt::discriminant`]), one per forgetting rate.
    Discriminants,
    /// Discriminants of the features and of random ones ([`crate::adapt::random_features`]).
    RandomFeatures,
    /// Nearest neighbours ([`crate::adapt::neighbours`]).
    Neighbours,
    /// Discriminants that learn a row as it is scaled when its label comes, not as it was when it streamed by: where all
    /// features drift together, what was high then is what is high now.
    Rescaled,
    /// A forest ([`crate::adapt::forest`]).
    Forest,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 5] =
        [Kind::Discriminants, Kind::RandomFeatures, Kind::Neighbours, Kind::Rescaled, Kind::Forest];
}

/// Returns the discriminants' time constants in labels.
pub fn time_constants() -> Vec<f64> {
    let finite = (0..FINITE).map(|power| FASTEST * f64::from(1u32 << power));
    finite.chain([f64::INFINITY]).collect()
}

/// Returns those of the time constants that are kept for so many features and classes; the slowest is always one of them.
pub fn thinned(constants: &[f64], features: usize, classes: usize) -> Vec<f64> {
    let most = (COST / (features * classes).max(1)).clamp(1, constants.len());
    (0..most).map(|at| constants[constants.len() - 1 - at * constants.len() / most]).rev().collect()
}

/// Experts that look at one half of a scaled row: the standardised values, or the ranks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Group {
    /// Discriminants of the features.
    Discriminants(Discriminants),
    /// Discriminants of the features and random ones.
    RandomFeatures(Discriminants),
    /// Nearest neighbours.
    Neighbours,
    /// Discriminants of the features as they are scaled when the label comes.
    Rescaled(Discriminants),
    /// A forest.
    Forest(Forest),
}

/// What experts predict with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Learned {
    /// Number of classes C.
    pub classes: usize,
    /// Number of features F.
    pub features: usize,
    /// How rows are scaled.
    pub scaling: Scaling,
    /// Of each kind, that of the standardised values and that of the ranks.
    pub groups: Vec<[Group; 2]>,
    /// The newest labelled rows.
    pub labelled: LabelledRows,
    /// The experts' shares.
    pub shares: Shares,
}

impl Group {
    fn kind(&self) -> Kind {
        match self {
            Group::Discriminants(_) => Kind::Discriminants,
            Group::RandomFeatures(_) => Kind::RandomFeatures,
            Group::Neighbours => Kind::Neighbours,
            Group::Forest(_) => Kind::Forest,
            Group::Rescaled(_) => Kind::Rescaled,
        }
    }

    /// Returns the discriminants, in a group of such.
    pub fn discriminants(&mut self) -> Option<&mut Discriminants> {
        match self {
            Group::Discriminants(discriminants)
            | Group::RandomFeatures(discriminants)
            | Group::Rescaled(discriminants) => Some(discriminants),
            Group::Neighbours | Group::Forest(_) => None,
        }
    }

    /// Returns the number of experts.
    pub fn count(&self) -> usize {
        match self {
            Group::Discriminants(discriminants)
            | Group::RandomFeatures(discriminants)
            | Group::Rescaled(discriminants) => discriminants.count(),
            Group::Neighbours => neighbours::WINDOWS.len(),
            Group::Forest(_) => 1,
        }
    }

    /// Multiplies the weight of everything learned so far by `keeps`. It takes effect when the group is next solved.
    pub fn fade(&mut self, keeps: f64) {
        self.discriminants().into_iter().for_each(|discriminants| discriminants.fade(keeps));
    }
}

impl Learned {
    /// Creates experts of `kinds` that have learned nothing.
    pub fn new(kinds: &[Kind], features: usize, classes: usize) -> Self {
        let constants = thinned(&time_constants(), features, classes);
        let both = |group: Group| [group.clone(), group];
        let group = |kind: &Kind| match kind {
            Kind::Discriminants => {
                both(Group::Discriminants(Discriminants::new(&constants, classes, features)))
            }
            Kind::Rescaled => both(Group::Rescaled(Discriminants::new(&constants, classes, features))),
            Kind::RandomFeatures => {
                let features = features + random_features::COUNT;
                let constants = thinned(&OF_RANDOM_FEATURES, features, classes);
                both(Group::RandomFeatures(Discriminants::new(&constants, classes, features)))
            }
            Kind::Neighbours => both(Group::Neighbours),
            Kind::Forest => both(Group::Forest(Forest::new(classes))),
        };
        let groups: Vec<[Group; 2]> = kinds.iter().map(group).collect();
        // Each kind begins with the same share, so that many experts of one kind do not outvote another.
        let counts: Vec<usize> = groups.iter().flatten().map(Group::count).collect();
        let start =
            counts.iter().flat_map(|count| vec![1.0 / (counts.len() * count) as f64; *count]).collect();
        Self {
            classes,
            features,
            scaling: Scaling::new(features),
            groups,
            labelled: LabelledRows::new(features),
            shares: Shares::new(start),
        }
    }

    /// Returns the share of each kind.
    pub fn kinds(&self) -> Vec<(Kind, f64)> {
        let shares = self.shares.now();
        let mut first = 0;
        let of = |groups: &[Group; 2]| {
            let count: usize = groups.iter().map(Group::count).sum();
            first += count;
            (groups[0].kind(), shares[first - count..first].iter().sum())
        };
        self.groups.iter().map(of).collect()
    }

    /// Adds a labelled row: its values `[2 F]` as it was scaled when it streamed by, and as it is scaled when its label
    /// comes. They take effect with the next [`Learned::solve`].
    pub fn add(&mut self, [then, now]: [&[f32]; 2], class: usize, random: &[RandomFeatures; 2]) {
        let rows = self.rows(then, random);
        let halves = now.chunks_exact(self.features);
        for groups in &mut self.groups {
            for ((group, row), now) in groups.iter_mut().zip(&rows).zip(halves.clone()) {
                match group {
                    Group::Discriminants(discriminants) => discriminants.add(&row[..self.features], class),
                    Group::RandomFeatures(discriminants) => discriminants.add(row, class),
                    Group::Rescaled(discriminants) => discriminants.add(now, class),
                    Group::Forest(forest) => forest.add(),
                    Group::Neighbours => {}
                }
            }
        }
    }

    /// Makes what was added take effect in `all` discriminants, or where there is enough of it.
    pub fn solve(&mut self, all: bool) {
        for group in self.groups.iter_mut().flatten() {
            group.discriminants().into_iter().for_each(|discriminants| discriminants.solve(all));
        }
    }

    /// Grows the trees of the forests that are due, or `all`.
    pub fn grow(&mut self, all: bool) {
        for groups in &mut self.groups {
            for (half, group) in groups.iter_mut().enumerate() {
                if let Group::Forest(forest) = group {
                    forest.renew(all, self.labelled.newest_half(half));
                }
            }
        }
    }

    /// Returns the standardised values and the ranks `[F]`, each with its random features, where a kind uses them.
    fn rows(&self, values: &[f32], random: &[RandomFeatures; 2]) -> [Vec<f32>; 2] {
        let bends = self.groups.iter().any(|groups| groups[0].kind() == Kind::RandomFeatures);
        [0, 1].map(|half| {
            let mut row = values[half * self.features..(half + 1) * self.features].to_vec();
            if bends {
                random[half].append(&mut row);
            }
            row
        })
    }

    /// Returns `[E, C]`: each expert's log probabilities for a scaled row.
    pub fn each(&self, scaled: &[u8], random: &[RandomFeatures; 2]) -> Vec<f32> {
        let experts: usize = self.groups.iter().flatten().map(Group::count).sum();
        let mut out = vec![0.0; experts * self.classes];
        let mut rest = &mut out[..];
        let rows = self.rows(&scaling::values(scaled), random);
        for groups in &self.groups {
            for (half, group) in groups.iter().enumerate() {
                let own;
                (own, rest) = rest.split_at_mut(group.count() * self.classes);
                let row = &rows[half][..self.features];
                match group {
                    Group::Discriminants(discriminants) | Group::Rescaled(discriminants) => {
                        discriminants.predict(row, own);
                    }
                    Group::RandomFeatures(discriminants) => discriminants.predict(&rows[half], own),
                    Group::Forest(forest) => forest.predict(row, own),
                    Group::Neighbours => neighbours::predict(row, self.labelled.newest_half(half), own),
                }
            }
        }
        out.iter_mut().for_each(|log| *log = log.max(LEAST.ln() as f32));
        out
    }

    /// Returns `[C]`: the geometric mean, by their shares, of the experts' answers `[E, C]`.
    pub fn pool(&self, each: &[f32], shares: &[f64]) -> Vec<f32> {
        let mut answer = vec![0.0; self.classes];
        for (each, share) in each.chunks_exact(self.classes).zip(shares) {
            answer.iter_mut().zip(each).for_each(|(answer, log)| *answer += *share as f32 * log);
        }
        normalise(&mut answer);
        answer
    }

    /// Returns the common answer `[N, C]`, log probabilities, for scaled rows `[N, 2 F]`.
    pub fn answer(&self, scaled: &[u8], random: &[RandomFeatures; 2]) -> Vec<f32> {
        let shares = self.shares.now();
        let rows = scaled.chunks_exact(scaling::bytes(self.features));
        rows.flat_map(|row| self.pool(&self.each(row, random), &shares)).collect()
    }
}
