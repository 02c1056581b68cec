//! Workers that train replicas of one student: in each update they add up their gradients, in the order of the workers, so that
//! all of them get the same bits, whoever comes first. Each worker of a process adds some pieces; where there are several
//! processes, the pieces go along them ([`chain`]).

use crate::stages::chain::{self, Chain, part};
use crate::stages::effort::{Effort, Efforts};
use parking_lot::{Condvar, Mutex, MutexGuard};
use sluicebox_core::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use tch::{Device, Tensor};

/// The workers of a job in one process.
#[derive(Debug)]
pub struct Team {
    /// Number of workers of the job.
    workers: usize,
    /// Those in this process.
    here: Range<usize>,
    /// The other processes, if there are any.
    chain: Option<Box<dyn Chain>>,
    round: Mutex<Round>,
    changed: Condvar,
    efforts: Efforts,
}

/// A sum that is being made.
#[derive(Debug)]
struct Round {
    /// What each worker has given, `[P]` f32.
    given: Vec<Option<Tensor>>,
    /// The pieces that each worker has added.
    added: Vec<Option<Vec<Tensor>>>,
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
    /// Creates a team in one process, and returns its members in the order of the workers.
    pub fn members(workers: usize) -> Vec<Member> {
        Self::of_process(workers, 0..workers, None)
    }

    /// Creates the part of a team that is in this process: those of its `workers` that are `here`. `chain` leads to the others.
    pub fn of_process(workers: usize, here: Range<usize>, chain: Option<Box<dyn Chain>>) -> Vec<Member> {
        let (given, added) = here.clone().map(|_| (None, None)).unzip();
        let round = Round { given, added, taken: 0, is_over: false, failure: None };
        let (round, changed, efforts) = (Mutex::new(round), Condvar::new(), Efforts::new(workers));
        let team = Arc::new(Self { workers, here: here.clone(), chain, round, changed, efforts });
        here.map(|index| Member { index, team: team.clone() }).collect()
    }

    /// Returns the pieces of `count` numbers; piece i is added by worker i modulo those of this process.
    fn pieces(&self, count: i64) -> Vec<Range<i64>> {
        match &self.chain {
            Some(_) => chain::pieces(count),
            None => (0..self.workers).map(|worker| range(count, self.workers, worker)).collect(),
        }
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
        let Team { here, round, changed, .. } = &*self.team;
        let (device, at) = (own.device(), self.index - here.start);
        let pieces = self.team.pieces(own.numel() as i64);
        let mut now = round.lock();
        // The workers of the sum before may still take it.
        self.wait_while(&mut now, |now| now.given[at].is_some());
        now.given[at] = Some(own);
        changed.notify_all();
        self.wait_while(&mut now, |now| now.given.iter().any(Option::is_none));
        self.still_on(&now)?;
        let given: Vec<Tensor> = now.given.iter().flatten().map(Tensor::shallow_clone).collect();
        drop(now);
        let own = pieces.iter().cloned().enumerate().skip(at).step_by(here.len()).collect::<Vec<_>>();
        let added = tch::no_grad(|| self.added(&given, &own, device))?;
        let mut now = round.lock();
        now.added[at] = Some(added);
        changed.notify_all();
        self.wait_while(&mut now, |now| now.added.iter().any(Option::is_none));
        self.still_on(&now)?;
        let added: Vec<&Vec<Tensor>> = now.added.iter().flatten().collect();
        let of_piece = |piece: usize| added[piece % here.len()][piece / here.len()].shallow_clone();
        let added: Vec<Tensor> = (0..pieces.len()).map(of_piece).collect();
        now.taken += 1;
        if now.taken == here.len() {
            let Round { given, added, taken, .. } = &mut *now;
            given.iter_mut().for_each(|given| *given = None);
            added.iter_mut().for_each(|added| *added = None);
            *taken = 0;
            changed.notify_all();
        }
        drop(now);
        let added: Vec<Tensor> = added.iter().map(|part| part.to_device(device)).collect();
        Ok(tch::no_grad(|| Tensor::cat(&added, 0)))
    }

    /// Adds the `own` pieces of what the workers of this process have given, and of what those of the others give.
    fn added(&self, given: &[Tensor], own: &[(usize, Range<i64>)], device: Device) -> Result<Vec<Tensor>> {
        if let Some(chain) = &self.team.chain {
            // Other processes take far longer than adding does.
            let began = Instant::now();
            let added = chain::add(&**chain, self.index - self.team.here.start, given, own, device);
            self.waited_since(began);
            return added;
        }
        let sum = |range: &Range<i64>| {
            let mut parts = given.iter().map(|given| part(given, range).to_device(device));
            let first = parts.next().map(|first| first.copy());
            first.map(|first| parts.fold(first, |mut sum, part| sum.g_add_(&part)))
        };
        Ok(own.iter().filter_map(|(_, range)| sum(range)).collect())
    }

    /// Says that this worker ends, and by which failure: whoever waits for it, or will, gets an error.
    pub fn end(&self, failure: Option<Error>) {
        let mut round = self.team.round.lock();
        round.is_over = true;
        if round.failure.is_none() {
            round.failure = failure;
        }
        // Under the lock: what fails in consequence must not be told first.
        self.team.chain.iter().for_each(|chain| chain.close(round.failure.as_ref()));
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
        self.waited_since(began);
    }

    fn waited_since(&self, began: Instant) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::chain::{Arrived, PIECE};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    /// Processes of one process: each piece goes to the worker that it is for.
    #[derive(Debug)]
    struct Threads {
        process: usize,
        inboxes: Vec<Mutex<Receiver<Arrived>>>,
        all: Vec<Vec<Sender<Arrived>>>,
    }

    impl Threads {
        fn send(&self, process: usize, piece: usize, whole: bool, sum: &Tensor) {
            let workers = &self.all[process];
            workers[piece % workers.len()].send(Arrived { piece, whole, sum: sum.copy() }).unwrap();
        }
    }

    impl Chain for Threads {
        fn is_first(&self) -> bool {
            self.process == 0
        }

        fn is_last(&self) -> bool {
            self.process + 1 == self.all.len()
        }

        fn pass(&self, piece: usize, sum: &Tensor) -> Result<()> {
            match self.is_last() {
                true => (0..self.process).for_each(|process| self.send(process, piece, true, sum)),
                false => self.send(self.process + 1, piece, false, sum),
            }
            Ok(())
        }

        fn receive(&self, worker: usize) -> Result<Arrived> {
            let arrived = self.inboxes[worker].lock().recv();
            arrived.map_err(|_| Error::Engine("the processes have parted".into()))
        }

        fn close(&self, _: Option<&Error>) {}
    }

    /// Returns the members of processes that have so many workers each.
    fn processes(workers: &[usize]) -> Vec<Member> {
        let (senders, receivers): (Vec<Vec<_>>, Vec<Vec<_>>) =
            workers.iter().map(|count| (0..*count).map(|_| channel()).unzip()).unzip();
        let mut start = 0;
        let of_process = |(process, inboxes): (usize, Vec<Receiver<Arrived>>)| {
            let here = start..start + workers[process];
            start = here.end;
            let inboxes = inboxes.into_iter().map(Mutex::new).collect();
            let chain = Threads { process, inboxes, all: senders.clone() };
            Team::of_process(workers.iter().sum(), here, Some(Box::new(chain)))
        };
        receivers.into_iter().enumerate().flat_map(of_process).collect()
    }

    #[test]
    fn the_sum_has_the_same_bits_however_workers_are_dealt_over_processes() {
        let count = 3 * PIECE + 17;
        let gives = |worker: usize, round: usize| {
            let numbers = Tensor::arange(count, (tch::Kind::Float, Device::Cpu));
            (numbers * (worker + 3 * round + 1) as f64).sin() * 10f64.powi(worker as i32 - 2)
        };
        let sums = |members: Vec<Member>| -> Vec<Tensor> {
            let sums = |member: Member| {
                (0..5).map(|round| member.sum(gives(member.index, round)).unwrap()).collect::<Vec<_>>()
            };
            let mut all: Vec<Vec<Tensor>> = thread::scope(|scope| {
                let threads: Vec<_> =
                    members.into_iter().map(|member| scope.spawn(move || sums(member))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let first = all.swap_remove(0);
            for (found, other) in all.iter().flat_map(|other| first.iter().zip(other)) {
                assert!(found.equal(other));
            }
            first
        };
        let one = sums(Team::members(4));
        for dealt in [&[2, 2][..], &[1, 1, 1, 1], &[1, 3], &[2, 1, 1]] {
            let several = sums(processes(dealt));
            assert!(one.iter().zip(&several).all(|(one, other)| one.equal(other)), "{dealt:?}");
        }
    }

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
