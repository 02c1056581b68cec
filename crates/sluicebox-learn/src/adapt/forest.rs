//! A forest on the newest labelled rows (Breiman 2001, "Random forests"): for classes that rules on single features tell
//! apart. It is never refitted as a whole: trees are renewed one after the other, the oldest first, so that every label
//! costs alike and the forest follows the stream.

use crate::adapt::discriminant::normalise;
use rafor::dt;
use rafor::prelude::*;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::rng::Draws;
use std::collections::VecDeque;
use std::sync::Arc;

/// Number of trees.
const TREES: usize = 16;
/// Rows that are sorted into new trees for each label: a tree of N rows is renewed every N / ROWS_PER_LABEL labels.
const ROWS_PER_LABEL: f64 = 64.0;

/// A forest. C classes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Forest {
    classes: usize,
    /// Oldest first.
    #[serde(serialize_with = "save", deserialize_with = "restore")]
    trees: VecDeque<Arc<Tree>>,
    /// Number of trees grown so far: it seeds the next.
    grown: u64,
    /// Rows that may be sorted into new trees.
    rows_due: f64,
}

/// A tree, and the classes that its rows had.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tree {
    splits: dt::Classifier,
    classes: Vec<u32>,
}

impl Forest {
    /// Creates a forest without trees.
    pub fn new(classes: usize) -> Self {
        Self { classes, trees: VecDeque::new(), grown: 0, rows_due: 0.0 }
    }

    /// Notes a labelled row. It takes effect with [`Forest::renew`].
    pub fn add(&mut self) {
        self.rows_due += ROWS_PER_LABEL;
    }

    /// Grows the trees that are due, or `all`, on the newest labelled rows `[F]` with their classes.
    pub fn renew<'a>(&mut self, all: bool, labelled: impl ExactSizeIterator<Item = (&'a [f32], usize)>) {
        let each = labelled.len() as f64;
        let most = each * TREES as f64;
        self.rows_due = if all { most } else { self.rows_due.min(most) };
        if each == 0.0 || self.rows_due < each {
            return;
        }
        let labelled: Vec<(&[f32], usize)> = labelled.collect();
        while self.rows_due >= each {
            self.rows_due -= each;
            self.trees.push_back(Arc::new(Tree::grow(&labelled, self.grown)));
            self.grown += 1;
            if self.trees.len() > TREES {
                self.trees.pop_front();
            }
        }
    }

    /// Writes the log probabilities `[C]` of a row `[F]`: the trees' mean, with one more tree that knows nothing.
    pub fn predict(&self, row: &[f32], out: &mut [f32]) {
        out.fill(1.0 / self.classes as f32);
        for tree in &self.trees {
            let shares = tree.splits.proba(row);
            tree.classes.iter().zip(shares).for_each(|(class, share)| out[*class as usize] += share);
        }
        out.iter_mut().for_each(|sum| *sum = sum.ln());
        normalise(out);
    }
}

impl Tree {
    /// Grows a tree on as many rows, drawn with replacement.
    fn grow(labelled: &[(&[f32], usize)], seed: u64) -> Self {
        let mut draws = Draws::seed_from_u64(seed);
        let mut times = vec![0u32; labelled.len()];
        (0..labelled.len()).for_each(|_| times[draws.random_range(0..labelled.len())] += 1);
        let (mut values, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for ((row, class), times) in labelled.iter().zip(&times).filter(|(_, times)| **times > 0) {
            values.extend_from_slice(row);
            targets.push(*class as i64);
            weights.push(*times as f32);
        }
        let mut trainer = <dt::Classifier>::trainer();
        trainer.with_max_features(MaxFeaturesPolicy::SQRT).with_seed(seed).with_weights(&weights);
        let splits = trainer.train(&values, &targets);
        let classes = splits.get_decode_table().iter().map(|class| *class as u32).collect();
        Self { splits, classes }
    }
}

/// The trees of a forest as plain numbers, M nodes and L leaves in all.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Each tree's first node.
    pub roots: Vec<i64>,
    /// `[M]`: the feature that a node looks at.
    pub features: Vec<i64>,
    /// `[M]`: a row of which that feature is more goes to the second child.
    pub thresholds: Vec<f32>,
    /// `[M, 2]`: both children; a node without has 0 twice.
    pub children: Vec<i64>,
    /// `[M]`: the leaf that a node without children is.
    pub leaves: Vec<i64>,
    /// `[L, C]`: probabilities of the classes.
    pub probabilities: Vec<f32>,
}

/// What of a tree the crate `rafor` saves.
#[derive(Deserialize)]
struct Saved {
    classifier: SavedClassifier,
}

#[derive(Deserialize)]
struct SavedClassifier {
    /// `[leaves, classes of the tree]`
    proba: Vec<f32>,
    predictor: SavedBlocks,
}

#[derive(Deserialize)]
struct SavedBlocks {
    tree: Vec<SavedBlock>,
}

/// Seven nodes: node i has the children 2 i + 1 and 2 i + 2, and each of the last four has none (offset 0), or the first nodes
/// of the block at its offset and of the next. The value of a node without children is its leaf, bit by bit.
#[derive(Deserialize)]
struct SavedBlock {
    values: [f32; 7],
    features: [u16; 7],
    offsets: [u32; 4],
}

impl Forest {
    /// Returns the nodes of all trees.
    pub fn nodes(&self) -> Result<Nodes> {
        let mut nodes = Nodes::default();
        for tree in &self.trees {
            // The crate offers no other way to look at a tree.
            let saved = serde_json::to_value(&tree.splits).and_then(serde_json::from_value::<Saved>);
            let Saved { classifier } =
                saved.map_err(|error| Error::Request(format!("a tree has another form: {error}")))?;
            nodes.add(&classifier, tree, self.classes);
        }
        Ok(nodes)
    }
}

impl Nodes {
    fn add(&mut self, saved: &SavedClassifier, tree: &Tree, classes: usize) {
        let (first, first_leaf) = (self.features.len() as i64, (self.probabilities.len() / classes) as i64);
        self.roots.push(first);
        for (block, SavedBlock { values, features, offsets }) in saved.predictor.tree.iter().enumerate() {
            for place in 0..7 {
                let own = first + 7 * block as i64;
                let children = match place {
                    0..3 => [own + 2 * place as i64 + 1, own + 2 * place as i64 + 2],
                    _ if offsets[place - 3] == 0 => [0, 0],
                    _ => [0, 1].map(|next| first + 7 * (i64::from(offsets[place - 3]) + next)),
                };
                self.features.push(i64::from(features[place]));
                self.thresholds.push(values[place]);
                self.leaves.push(if children == [0, 0] {
                    first_leaf + i64::from(values[place].to_bits())
                } else {
                    0
                });
                self.children.extend(children);
            }
        }
        for leaf in saved.proba.chunks_exact(tree.classes.len()) {
            let mut all = vec![0.0; classes];
            tree.classes.iter().zip(leaf).for_each(|(class, share)| all[*class as usize] = *share);
            self.probabilities.extend(all);
        }
    }
}

fn save<S: Serializer>(trees: &VecDeque<Arc<Tree>>, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_seq(trees.iter().map(|tree| &**tree))
}

fn restore<'a, D: Deserializer<'a>>(from: D) -> std::result::Result<VecDeque<Arc<Tree>>, D::Error> {
    Ok(Vec::<Tree>::deserialize(from)?.into_iter().map(Arc::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 1 where exactly one of two features is above 0; from row `turns` on, class 0.
    fn row(at: usize, turns: usize) -> (Vec<f32>, usize) {
        let value = |step: f32| (at as f32 * step).fract() - 0.5;
        let values = vec![value(0.618), value(0.414), value(0.302)];
        let differs = (values[0] > 0.0) != (values[1] > 0.0);
        (values, usize::from(differs == (at < turns)))
    }

    fn learn(forest: &mut Forest, rows: &[(Vec<f32>, usize)]) {
        forest.add();
        forest.renew(false, rows.iter().map(|(row, class)| (&row[..], *class)));
    }

    fn right(forest: &Forest, rows: &[(Vec<f32>, usize)]) -> f64 {
        let is_right = |(row, class): &&(Vec<f32>, usize)| {
            let mut out = [0.0; 2];
            forest.predict(row, &mut out);
            (out[1] > out[0]) == (*class == 1)
        };
        rows.iter().filter(is_right).count() as f64 / rows.len() as f64
    }

    #[test]
    fn it_learns_rules_on_single_features_and_follows_them() {
        let rows: Vec<_> = (0..800).map(|at| row(at, 400)).collect();
        let mut forest = Forest::new(2);
        (1..=400).for_each(|at| learn(&mut forest, &rows[..at]));
        let later: Vec<_> = (10_000..10_200).map(|at| row(at, usize::MAX)).collect();
        assert!(right(&forest, &later) > 0.9, "{}", right(&forest, &later));
        // The rule turns; the newest 200 rows are shown.
        (401..=800).for_each(|at| learn(&mut forest, &rows[at - 200..at]));
        assert!(right(&forest, &later) < 0.1, "{}", right(&forest, &later));
        assert_eq!(forest.trees.len(), TREES);
    }

    #[test]
    fn a_label_costs_the_same_however_many_rows_there_are() {
        let rows: Vec<_> = (0..640).map(|at| row(at, 1000)).collect();
        let mut forest = Forest::new(2);
        (0..100).for_each(|_| learn(&mut forest, &rows));
        assert_eq!(forest.grown, 100 * ROWS_PER_LABEL as u64 / 640);
        // Of a few rows no more trees are grown than the forest has.
        learn(&mut forest, &rows[..1]);
        assert!(forest.grown <= 10 + TREES as u64);
    }

    #[test]
    fn before_any_label_and_for_a_class_without_rows_it_is_unsure() {
        let mut forest = Forest::new(3);
        let mut out = [0.0; 3];
        forest.predict(&[0.0], &mut out);
        assert!(out.iter().all(|log| (log.exp() - 1.0 / 3.0).abs() < 1e-6));
        forest.renew(true, [(&[1.0f32][..], 1), (&[1.1], 1)].into_iter());
        forest.predict(&[1.0], &mut out);
        let expected = (1.0 / 3.0) / (TREES as f32 + 1.0);
        assert!((out[0].exp() - expected).abs() < 1e-6 && out[1] > out[0], "{out:?}");
    }

    #[test]
    fn its_nodes_lead_to_the_same_leaves() {
        let rows: Vec<_> = (0..300).map(|at| row(at, 1000)).collect();
        let mut forest = Forest::new(3);
        (1..=300).for_each(|at| learn(&mut forest, &rows[..at]));
        let nodes = forest.nodes().unwrap();
        assert_eq!(nodes.roots.len(), TREES);
        for (row, _) in &rows[..50] {
            let mut sums = [1.0 / 3.0; 3];
            for root in &nodes.roots {
                let mut at = *root as usize;
                while nodes.children[2 * at + 1] > 0 {
                    let more = row[nodes.features[at] as usize] > nodes.thresholds[at];
                    at = nodes.children[2 * at + usize::from(more)] as usize;
                }
                let leaf = &nodes.probabilities[3 * nodes.leaves[at] as usize..];
                sums.iter_mut().zip(leaf).for_each(|(sum, share)| *sum += share);
            }
            let mut out = [0.0; 3];
            forest.predict(row, &mut out);
            let total: f32 = sums.iter().sum();
            assert!(sums.iter().zip(out).all(|(sum, log)| (sum / total - log.exp()).abs() < 1e-5));
        }
    }

    #[test]
    fn saved_and_restored_it_grows_on_alike() {
        let rows: Vec<_> = (0..300).map(|at| row(at, 1000)).collect();
        let mut forest = Forest::new(2);
        (1..=150).for_each(|at| learn(&mut forest, &rows[..at]));
        let saved = bincode::serialize(&forest).unwrap();
        let mut again: Forest = bincode::deserialize(&saved).unwrap();
        (151..=300).for_each(|at| {
            [&mut forest, &mut again].into_iter().for_each(|forest| learn(forest, &rows[..at]));
        });
        assert_eq!(bincode::serialize(&forest).unwrap(), bincode::serialize(&again).unwrap());
    }
}
