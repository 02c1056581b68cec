//! Workers that train replicas of one student: in each update they add up their gradients. Each worker adds one range of
//! them, in the order of the workers, so that all of them get the same bits, whoever comes first.

use crate::stages::effort::{Effort, Efforts};
use parking_lot::{Condvar, Mutex, MutexGuard};
use sluicebox_core::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use tch::Tensor;

/// The workers of a job.
#[derive(Debug)]
pub struct Team {
    workers: usize,
    round: Mutex<Round>,
    changed: Condvar,
    efforts: Efforts,
}

/// A sum that is being made.
#[derive(Debug)]
struct Round {
    /// What each worker has given, `[P]` f32.
    given: Vec<Option<Tensor>>,
    /// The ranges that are added, by worker.
    added: Vec<Option<Tensor>>,
    /// Workers that have taken the sum.
    taken: usize,
    /// Whether a worker has ended: the others do not wait for it.
    is_over: bool,
    /// Why it has ended.
    failure: Option<Error>,
}

/// A worker in its team.
#[derive(Debug, Clone)]
pub struct Member {
    /// The worker's index.
    pub index: usize,
    team: Arc<Team>,
}

/// Returns the worker's range of `count` things: all ranges differ in length by one at most, the first is the longest.
///
/// ```
/// use sluicebox_learn::stages::team::range;
///
/// assert_eq!((range(5, 2, 0), range(5, 2, 1)), (0..3, 3..5));
/// ```
pub fn range(count: i64, workers: usize, index: usize) -> Range<i64> {
    let (workers, index) = (workers as i64, index as i64);
    let start = |index: i64| (count * index + workers - 1) / workers;
    start(index)..start(index + 1)
}

impl Team {
    /// Creates a team, and returns its members in the order of the workers.
    pub fn members(workers: usize) -> Vec<Member> {
        let none = || (0..workers).map(|_| None).collect();
        let round = Round { given: none(), added: none(), taken: 0, is_over: false, failure: None };
        let team = Arc::new(Self {
            workers,
            round: Mutex::new(round),
            changed: Condvar::new(),
            efforts: Efforts::new(workers),
        });
        (0..workers).map(|index| Member { index, team: team.clone() }).collect()
    }
}

impl Member {
    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.team.workers
    }

    /// Returns what the workers have done, for the report.
    pub fn efforts(&self) -> &Efforts {
        &self.team.efforts
    }

    /// Adds up what the workers give in their next call, `[P]` f32 each. Waits for all of them.
    ///
    /// # Errors
    /// [`Error::Engine`] if another worker has ended.
    pub fn sum(&self, own: Tensor) -> Result<Tensor> {
        let Team { workers, round, changed, .. } = &*self.team;
        let (device, count) = (own.device(), own.numel() as i64);
        let mut now = round.lock();
        // The workers of the sum before may still take it.
        self.wait_while(&mut now, |now| now.given[self.index].is_some());
        now.given[self.index] = Some(own);
        changed.notify_all();
        self.wait_while(&mut now, |now| now.given.iter().any(Option::is_none));
        self.still_on(&now)?;
        let range = range(count, *workers, self.index);
        let parts: Vec<Tensor> = now.given.iter().flatten().map(|given| part(given, &range)).collect();
        drop(now);
        let added = tch::no_grad(|| {
            let mut parts = parts.into_iter().map(|part| part.to_device(device));
            let first = parts.next().map(|first| first.copy());
            first.map(|first| parts.fold(first, |mut sum, part| sum.g_add_(&part)))
        });
        let mut now = round.lock();
        now.added[self.index] = added;
        changed.notify_all();
        self.wait_while(&mut now, |now| now.added.iter().any(Option::is_none));
        self.still_on(&now)?;
        let added: Vec<Tensor> = now.added.iter().flatten().map(Tensor::shallow_clone).collect();
        now.taken += 1;
        if now.taken == *workers {
            let Round { given, added, taken, .. } = &mut *now;
            given.iter_mut().chain(added).for_each(|tensor| *tensor = None);
            *taken = 0;
            changed.notify_all();
        }
        drop(now);
        let added: Vec<Tensor> = added.iter().map(|part| part.to_device(device)).collect();
        Ok(tch::no_grad(|| Tensor::cat(&added, 0)))
    }

    /// Says that this worker ends, and by which failure: whoever waits for it, or will, gets an error.
    pub fn end(&self, failure: Option<Error>) {
        let mut round = self.team.round.lock();
        round.is_over = true;
        if round.failure.is_none() {
            round.failure = failure;
        }
        drop(round);
        self.team.changed.notify_all();
    }

    /// Takes the failure by which the first worker has ended.
    pub fn failure(&self) -> Option<Error> {
        self.team.round.lock().failure.take()
    }

    /// Waits for other workers, unless one has ended.
    fn wait_while(&self, now: &mut MutexGuard<'_, Round>, other: impl Fn(&Round) -> bool) {
        let began = Instant::now();
        self.team.changed.wait_while(now, |now| other(now) && !now.is_over);
        let waited_s = began.elapsed().as_secs_f64();
        self.team.efforts.add(self.index, Effort { waited_s, ..Effort::default() });
    }

    fn still_on(&self, round: &Round) -> Result<()> {
        match round.is_over {
            true => Err(Error::Engine(format!("worker {} stops, as another worker has", self.index))),
            false => Ok(()),
        }
    }
}

fn part(tensor: &Tensor, range: &Range<i64>) -> Tensor {
    tensor.narrow(0, range.start, range.end - range.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn ranges_cover_all_and_differ_by_one_at_most() {
        for (count, workers) in [(0, 3), (1, 2), (7, 3), (8, 4), (100, 16)] {
            let ranges: Vec<Range<i64>> = (0..workers).map(|index| range(count, workers, index)).collect();
            assert_eq!((ranges[0].start, ranges[workers - 1].end), (0, count));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            let lengths: Vec<i64> = ranges.iter().map(|range| range.end - range.start).collect();
            assert!(lengths.iter().all(|length| lengths[0] - length <= 1 && *length <= lengths[0]));
        }
    }

    #[test]
    fn all_get_the_sum_in_the_order_of_the_workers_round_after_round() {
        let gives = |worker: usize, round: usize| -> Vec<f32> {
            (0..5)
                .map(|at| ((worker * 31 + round * 7 + at) as f32).sin() * 10f32.powi(worker as i32))
                .collect()
        };
        let work = |member: Member| {
            (0..50)
                .map(|round| {
                    if (round + member.index).is_multiple_of(7) {
                        thread::yield_now();
                    }
                    let sum = member.sum(Tensor::from_slice(&gives(member.index, round))).unwrap();
                    Vec::<f32>::try_from(&sum).unwrap()
                })
                .collect::<Vec<_>>()
        };
        let found: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                Team::members(3).into_iter().map(|member| scope.spawn(move || work(member))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (round, sum) in found[0].iter().enumerate() {
            let [one, two, three] = [0, 1, 2].map(|worker| gives(worker, round));
            let expected: Vec<f32> = (0..5).map(|at| (one[at] + two[at]) + three[at]).collect();
            assert_eq!(*sum, expected);
        }
        assert!(found.iter().all(|sums| *sums == found[0]));
    }

    #[test]
    fn who_waits_for_a_worker_that_has_ended_gets_an_error() {
        let members = Team::members(2);
        let waits = members[0].clone();
        let waiting = thread::spawn(move || waits.sum(Tensor::from_slice(&[1.0f32])));
        members[1].end(Some(Error::Engine("why".into())));
        assert!(waiting.join().unwrap().unwrap_err().to_string().contains("another worker"));
        assert!(members[0].sum(Tensor::from_slice(&[1.0f32])).is_err(), "and at once from then on");
        assert!(members[0].failure().unwrap().to_string().contains("why"));
    }
}
