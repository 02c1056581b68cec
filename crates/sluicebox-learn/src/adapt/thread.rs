//! The experts on a thread of their own. The batch stage hands each step on to it ([`Turn`]) and goes on; the filter waits
//! for what they say of the step ([`Said`]), which is mostly there by then. A step's labelled samples are drawn by the
//! shares of two steps before, so that the batch stage need not wait for the last one. At most two turns are under way.
//!
//! Beside a GPU the turns are taken on the dataflow's own thread: on the one machine where both were measured, a second
//! busy thread made late labels slower (benches/runs/2026-11-27-h200). What comes out is the same.

use crate::adapt::experts::{Experts, Foretold, Snapshot};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::state::{Stateful, decode, encode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What comes to the experts in a step, in this order.
#[derive(Debug, Default)]
pub struct Turn {
    /// The step.
    pub step: u64,
    /// Factor on the weight of everything learned so far: there was a drift alarm.
    pub keeps: Option<f64>,
    /// Samples that the source delivered labelled: features `[N, F]` and classes.
    pub labelled: Option<(Vec<f32>, Vec<i64>)>,
    /// Samples whose label was corrected, or withdrawn.
    pub corrected: Vec<(u64, Option<u32>)>,
    /// The step's unlabelled samples: ids and features `[B, F]`; none in a step without any.
    pub streamed: Option<(Vec<u64>, Vec<f32>)>,
    /// Late labels: ids, features `[N, F]` and classes.
    pub fresh: Option<(Vec<u64>, Vec<f32>, Vec<i64>)>,
    /// Whether the experts have a say in the answers.
    pub blends: bool,
    /// Whether predictions outside the dataflow see what was learned in this step at once.
    pub last: bool,
    /// Whether there may be such predictions at any time.
    pub published: bool,
    /// Whether to save the state after it.
    pub saves: bool,
}

/// What the experts say of a step. C classes.
#[derive(Debug)]
pub struct Said {
    /// Whether enough labels have been foretold to compare the network and the experts.
    pub trusted: bool,
    /// `[C]`: class prior of the labels.
    pub prior: Vec<f32>,
    /// `[B, C]`: log probabilities of the step's samples; none where the experts have no say.
    pub answers: Option<Vec<f32>>,
    /// What they said of the late labels before they learned them.
    pub foretold: Option<Foretold>,
    /// What answers outside the dataflow are made with.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// What they say of a step, on its way; nothing before they know a label.
#[derive(Debug)]
pub struct Awaited(Receiver<Option<Said>>);

impl Awaited {
    /// Waits for it.
    ///
    /// # Errors
    /// [`Error::Engine`] if the experts' thread has panicked.
    pub fn wait(self) -> Result<Option<Said>> {
        self.0.recv().map_err(|_| gone())
    }

    /// Returns what is there already.
    #[cfg(test)]
    pub fn known(said: Said) -> Self {
        let (send, known) = channel();
        let _ = send.send(Some(said));
        Self(known)
    }
}

/// The state of the experts, and what is saved beside it.
#[derive(Debug, PartialEq)]
pub struct SavedExperts {
    /// That of [`Experts`].
    pub experts: Vec<u8>,
    /// Shares by which the next step's labelled samples are drawn.
    pub shares: Vec<u8>,
}

/// Shares of the forgetting rates after a turn; none until they are trusted.
type Rates = Option<Vec<f64>>;

/// The state's name in messages.
const WHAT: &str = "the shares of replay";

/// A turn, and where what they say of it goes.
type Task = (Turn, Sender<Option<Said>>);
/// The shares after a turn, and the state if it saves.
type Ended = (Rates, Option<Result<Vec<u8>>>);

/// Experts that work on a thread of their own. It ends with its owner.
pub struct ExpertsThread {
    worker: Worker,
    /// Turns that were handed on, and of which the end is not known yet: at most 2.
    under_way: usize,
    /// After the last two turns whose end is known, the older one first.
    rates: [Rates; 2],
    time_constants: Vec<f64>,
}

enum Worker {
    Thread { tasks: Option<Sender<Task>>, ended: Receiver<Ended>, thread: Option<thread::JoinHandle<()>> },
    Here { experts: Box<Experts>, ended: VecDeque<Ended> },
}

impl Worker {
    fn take(&mut self, task: Task) -> Result<()> {
        match self {
            Worker::Thread { tasks, .. } => {
                let tasks = tasks.as_ref().ok_or_else(gone)?;
                tasks.send(task).map_err(|_| gone())
            }
            Worker::Here { experts, ended } => {
                ended.push_back(work(experts, task));
                Ok(())
            }
        }
    }

    fn ended(&mut self) -> Result<Ended> {
        match self {
            Worker::Thread { ended, .. } => ended.recv().map_err(|_| gone()),
            Worker::Here { ended, .. } => ended.pop_front().ok_or_else(gone),
        }
    }
}

fn work(experts: &mut Experts, (turn, answer): Task) -> Ended {
    let saves = turn.saves;
    // Whoever asked may have ended.
    experts.turn(turn, |said| _ = answer.send(said));
    (rates(experts), saves.then(|| experts.save()))
}

impl ExpertsThread {
    /// Starts the thread, unless they are to work `here`; `before` is what was saved beside the experts.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system has no thread left, [`Error::Request`] if `before` is damaged.
    pub fn start(mut experts: Experts, before: Option<&[u8]>, here: bool) -> Result<Self> {
        let (now, time_constants) = (rates(&experts), experts.time_constants().to_vec());
        let before = before.map(|saved| decode(WHAT, saved)).transpose()?.unwrap_or_else(|| now.clone());
        let worker = match here {
            true => Worker::Here { experts: Box::new(experts), ended: VecDeque::new() },
            false => {
                let (tasks, to_do) = channel::<Task>();
                let (tell, ended) = channel();
                let work = move || {
                    for task in to_do {
                        let _ = tell.send(work(&mut experts, task));
                    }
                };
                let thread = thread::Builder::new().name("experts".into()).spawn(work);
                let thread =
                    thread.map_err(|error| Error::Engine(format!("the experts' thread: {error}")))?;
                Worker::Thread { tasks: Some(tasks), ended, thread: Some(thread) }
            }
        };
        Ok(Self { worker, under_way: 0, rates: [before, now], time_constants })
    }

    /// Hands a step on. Where the turn saves, the state after it comes too, and this waits for it.
    ///
    /// # Errors
    /// [`Error::Engine`] if the thread has panicked; else as [`Stateful::save`].
    pub fn take(&mut self, turn: Turn) -> Result<(Awaited, Option<SavedExperts>)> {
        self.wait(1)?;
        let saves = turn.saves;
        let (answer, awaited) = channel();
        self.worker.take((turn, answer))?;
        self.under_way += 1;
        let experts = if saves { self.wait(0)? } else { None };
        let state = experts.map(|experts| -> Result<_> {
            Ok(SavedExperts { experts, shares: encode(WHAT, &self.rates[0])? })
        });
        Ok((Awaited(awaited), state.transpose()?))
    }

    /// Returns the discriminants' time constants in labels, with their shares after the last turn but one; none until they
    /// are trusted.
    ///
    /// # Errors
    /// [`Error::Engine`] if the thread has panicked.
    pub fn pace(&mut self) -> Result<Option<(&[f64], &[f64])>> {
        self.wait(1)?;
        // With the last turn still under way, the newest that is known is the one before it.
        let rates = if self.under_way == 1 { &self.rates[1] } else { &self.rates[0] };
        Ok(rates.as_deref().map(|rates| (self.time_constants.as_slice(), rates)))
    }

    /// Waits until at most `most` turns are under way. Returns the state after the last one that ended, if it saved.
    fn wait(&mut self, most: usize) -> Result<Option<Vec<u8>>> {
        let mut state = None;
        while self.under_way > most {
            let (rates, saved) = self.worker.ended()?;
            self.rates.swap(0, 1);
            self.rates[1] = rates;
            self.under_way -= 1;
            state = saved.transpose()?;
        }
        Ok(state)
    }
}

impl Drop for ExpertsThread {
    fn drop(&mut self) {
        if let Worker::Thread { tasks, thread, .. } = &mut self.worker {
            *tasks = None;
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Experts {
    /// Takes in a step, and tells what they say of it; nothing before they know a label. Discriminants and trees are renewed after
    /// that, so that whoever awaits the answers does not wait for it, unless predictions outside the dataflow are to see it.
    pub fn turn(&mut self, turn: Turn, tell: impl FnOnce(Option<Said>)) {
        let Turn { step, keeps, labelled, corrected, streamed, fresh, blends, last, published, .. } = turn;
        keeps.into_iter().for_each(|keeps| self.decay_weights(keeps));
        labelled.iter().for_each(|(rows, classes)| self.add(rows, classes));
        corrected.into_iter().for_each(|(id, class)| self.correct(id, class));
        let scaled = streamed.map(|(ids, rows)| self.stream(step, &ids, &rows));
        self.relearn();
        let foretold = fresh.and_then(|(ids, rows, classes)| self.learn(step, &ids, &rows, &classes));
        let trusted = self.trusted();
        let said = self.knows().then(|| Said {
            trusted,
            prior: self.prior(),
            answers: scaled.filter(|_| blends && trusted).map(|rows| self.answer(&rows)),
            foretold,
            snapshot: None,
        });
        let shown = said.is_some() && blends && (last || published);
        let renews_first = shown && (last || self.snapshot_is_due(step));
        if renews_first {
            self.renew();
        }
        let snapshot = shown.then(|| self.snapshot(step, last));
        tell(said.map(|said| Said { snapshot, ..said }));
        if !renews_first {
            self.renew();
        }
    }
}

fn rates(experts: &Experts) -> Rates {
    experts.trusted().then(|| experts.rates())
}

fn gone() -> Error {
    Error::Engine("the experts' thread has ended".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::learned::Kind;

    fn experts() -> Experts {
        Experts::new(&Kind::ALL, 2, 2, 50, 0)
    }

    /// A step of two samples, of which the earlier ones get their label.
    fn turn(step: u64, saves: bool) -> Turn {
        let row = |id: u64| [id as f32, (id % 2) as f32];
        let fresh = step.checked_sub(2).map(|then| {
            let ids = [2 * then, 2 * then + 1];
            (ids.to_vec(), ids.map(row).concat(), ids.map(|id| (id % 2) as i64).to_vec())
        });
        let ids = [2 * step, 2 * step + 1];
        let streamed = Some((ids.to_vec(), ids.map(row).concat()));
        Turn { step, streamed, fresh, blends: true, saves, ..Turn::default() }
    }

    #[test]
    fn on_its_thread_experts_say_and_keep_the_same() {
        for here in [false, true] {
            say_and_keep_the_same(here);
        }
    }

    fn say_and_keep_the_same(here: bool) {
        let mut plain = experts();
        let mut thread = ExpertsThread::start(experts(), None, here).unwrap();
        let mut shares = vec![rates(&plain); 2];
        for step in 0..30 {
            let pace = |thread: &mut ExpertsThread| thread.pace().unwrap().map(|(_, shares)| shares.to_vec());
            assert_eq!(pace(&mut thread), shares[step as usize], "of two steps before");
            let saves = step % 7 == 6;
            let (awaited, state) = thread.take(turn(step, saves)).unwrap();
            let mut expected = None;
            plain.turn(turn(step, saves), |said| expected = said);
            let found = awaited.wait().unwrap();
            assert_eq!(found.is_some(), step >= 2, "they know labels from step 2 on");
            shares.push(rates(&plain));
            if let Some(state) = state {
                assert_eq!(state.experts, plain.save().unwrap());
                let mut again = experts();
                again.load(&state.experts).unwrap();
                let mut again = ExpertsThread::start(again, Some(&state.shares), here).unwrap();
                assert_eq!(pace(&mut again), shares[step as usize + 1], "a restart changes nothing");
            }
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_eq!((found.prior, found.answers), (expected.prior, expected.answers));
                assert_eq!((found.foretold, found.trusted), (expected.foretold, true));
            }
        }
    }

    #[test]
    fn whoever_awaits_a_thread_that_has_panicked_gets_an_error() {
        let mut thread = ExpertsThread::start(experts(), None, false).unwrap();
        let broken = Turn { labelled: Some((vec![1.0, 2.0], vec![9])), ..Turn::default() };
        let (awaited, _) = thread.take(broken).unwrap();
        assert!(awaited.wait().unwrap_err().to_string().contains("experts' thread has ended"));
        assert!(thread.take(turn(1, true)).is_err() && thread.take(turn(2, false)).is_err());
    }
}
