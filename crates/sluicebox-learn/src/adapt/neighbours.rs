//! Nearest neighbours among the newest labelled rows: k-NN votes (Cover and Hart 1967) of several windows, found in one
//! pass from the newest row to the oldest.

use crate::adapt::discriminant::normalise;

/// Votes per row.
pub const K: usize = 5;
/// Windows: newest labelled rows.
pub const WINDOWS: [usize; 2] = [100, 1000];

/// Writes the log probabilities `[WINDOWS, C]` that the neighbours of `row` `[F]` give it. `labelled` yields labelled rows
/// and their classes, newest first.
pub fn predict<'a>(row: &[f32], labelled: impl Iterator<Item = (&'a [f32], usize)>, out: &mut [f32]) {
    let classes = out.len() / WINDOWS.len();
    let mut nearest = [(f32::INFINITY, 0usize); K];
    let (mut seen, mut window) = (0, 0);
    let mut vote = |nearest: &[(f32, usize); K], window: usize| {
        let votes = &mut out[window * classes..(window + 1) * classes];
        votes.fill(1.0 / classes as f32);
        nearest.iter().filter(|(far, _)| far.is_finite()).for_each(|(_, class)| votes[*class] += 1.0);
        votes.iter_mut().for_each(|votes| *votes = votes.ln());
        normalise(votes);
    };
    for (other, class) in labelled.take(WINDOWS[WINDOWS.len() - 1]) {
        let far = squared_distance(row, other);
        if far < nearest[K - 1].0 {
            let at = nearest.partition_point(|(near, _)| *near <= far);
            nearest[at..].rotate_right(1);
            nearest[at] = (far, class);
        }
        seen += 1;
        if seen == WINDOWS[window] {
            vote(&nearest, window);
            window += 1;
        }
    }
    (window..WINDOWS.len()).for_each(|window| vote(&nearest, window));
}

/// Sums in eight lanes: one sum after the other would be one addition at a time.
fn squared_distance(one: &[f32], other: &[f32]) -> f32 {
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest =
        ones.remainder().iter().zip(others.remainder()).map(|(one, other)| (one - other) * (one - other));
    let mut lanes = [0.0f32; 8];
    let rest: f32 = rest.sum();
    for (one, other) in ones.zip(others) {
        for (lane, (one, other)) in lanes.iter_mut().zip(one.iter().zip(other)) {
            *lane += (one - other) * (one - other);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predicted(row: f32, labelled: &[(Vec<f32>, usize)]) -> Vec<f32> {
        let mut out = vec![0.0; 2 * WINDOWS.len()];
        predict(&[row], labelled.iter().rev().map(|(row, class)| (&row[..], *class)), &mut out);
        out.iter().map(|log| log.exp()).collect()
    }

    #[test]
    fn the_nearest_five_vote_in_each_window() {
        // 200 rows of class 0 at 0 to 199, then 200 of class 1 at the same places.
        let labelled: Vec<(Vec<f32>, usize)> =
            (0..400).map(|at| (vec![(at % 200) as f32], at / 200)).collect();
        // Of the newest 100 (class 1, from 100 on) all; of all 400, 3 of class 1 and 2 of class 0: the newer wins a tie.
        let found = predicted(150.0, &labelled);
        let (all, three) = (5.5 / 6.0, 3.5 / 6.0);
        assert!((found[1] - all).abs() < 1e-5 && (found[3] - three).abs() < 1e-5, "{found:?}");
        assert_eq!(predicted(1.0, &[]), [0.5; 4], "without labels all are equal");
        assert!((predicted(1.0, &labelled[..2])[0] - 2.5 / 3.0).abs() < 1e-5, "two votes");
    }
}
