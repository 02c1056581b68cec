//! Several workers: worker 0 is the dataflow. It alone cuts steps and owns what is known of samples and labels; all of them make
//! views, scores and gradients of their part of each step. The others are threads, here or in other processes, that take parts in
//! the order of the steps ([`Arm`]).
//!
//! ```text
//! worker 0   batch ─► cut ─► weak ─► teach ─► join ─► filter ─► deal ─► strong ─► learn ─► report
//!                      ║                       ║                  ║               ║ gradients are added up
//! others               ╚═════► weak ─► teach ══╝                  ╚══► strong ─► learn
//! ```
//!
//! Every worker trains the same weights: they add up their gradients in each update, in the order of the workers
//! ([`Team`](sluicebox_learn::stages::team::Team)). So a worker's teacher follows its own student. At most as many steps are under
//! way as in the dataflow. Where a state is saved, the workers compare their weights.

use crate::engine::flow::arm::{Arm, Task, Told};
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::{Batch, Scored, Selected, StepResult, TrainingBatch, Weights};
use sluicebox_learn::stages::effort::{Effort, Efforts};
use sluicebox_learn::stages::parts::Parts;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::team::Member;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval at which worker 0 looks whether it is to stop, while others are built.
const LOOK: Duration = Duration::from_millis(100);

/// Another worker, as worker 0 sees it.
pub trait Beside {
    /// Waits until it is built, for at most `patience`; returns whether it is.
    ///
    /// # Errors
    /// That of building it.
    fn await_start(&self, patience: Duration) -> Result<bool>;

    /// Hands a part of a step on.
    ///
    /// # Errors
    /// Any: the worker has ended.
    fn hand_on(&self, task: Task) -> Result<()>;

    /// Waits for the scores of the next step.
    ///
    /// # Errors
    /// Any: the worker has ended.
    fn scored(&self) -> Result<Scored>;

    /// Waits for the hash of its weights after the next step whose state is saved.
    ///
    /// # Errors
    /// Any: the worker has ended.
    fn weights(&self) -> Result<u64>;

    /// Returns why it has ended, if that is known here.
    fn failure(&self) -> Option<Error> {
        None
    }
}

/// The workers beside the first, if there are any; clones share them.
#[derive(Clone)]
pub struct Workers(Option<Rc<RefCell<Others>>>);

struct Others {
    parts: Parts,
    first: Member,
    /// Steps that are cut and not joined: what is needed of them whole.
    whole: VecDeque<Batch>,
    others: Vec<Box<dyn Beside>>,
}

/// A worker that is a thread here.
struct Here {
    index: usize,
    tasks: Option<Sender<Task>>,
    scored: Receiver<Scored>,
    weights: Receiver<u64>,
    started: Receiver<Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Worker 0 alone.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Worker 0 with others, which [`Workers::start`] and [`Workers::add`] add in their order.
    pub fn of(first: Member, parts: Parts) -> Self {
        let others = Others { parts, first, whole: VecDeque::new(), others: Vec::new() };
        Self(Some(Rc::new(RefCell::new(others))))
    }

    /// Adds the next worker.
    pub fn add(&mut self, other: impl Beside + 'static) {
        if let Some(others) = &self.0 {
            others.borrow_mut().others.push(Box::new(other));
        }
    }

    /// Starts worker `index` as a thread; `build` is called on it.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system has no thread left.
    pub fn start(
        &mut self,
        index: usize,
        build: impl FnOnce() -> Result<(Arm, Member)> + Send + 'static,
    ) -> Result<()> {
        let ((tasks, to_do), (begun, started)) = (channel(), channel());
        let ((tell_scored, scored), (tell_weights, weights)) = (channel(), channel());
        let work = move || {
            let mut member = None;
            let built = Arm::begin(index, || {
                let (arm, own) = build()?;
                member = Some(own);
                Ok(arm)
            });
            match (built, member) {
                (Ok(arm), Some(member)) => {
                    let _ = begun.send(Ok(()));
                    arm.work(&member, to_do.into_iter().map(Ok), |told| match told {
                        Told::Scored(scored) => drop(tell_scored.send(*scored)),
                        Told::Weights(hash) => drop(tell_weights.send(hash)),
                    });
                }
                (built, _) => drop(begun.send(built.map(|_| ()))),
            }
        };
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(work);
        let thread = Some(thread.map_err(|error| Error::Engine(format!("worker {index}: {error}")))?);
        self.add(Here { index, tasks: Some(tasks), scored, weights, started, thread });
        Ok(())
    }

    /// Waits until all workers are built, or `stop` is raised; returns whether they are.
    ///
    /// # Errors
    /// Those of building.
    pub fn await_start(&self, stop: &AtomicBool) -> Result<bool> {
        let Some(others) = &self.0 else { return Ok(true) };
        for other in &others.borrow().others {
            while !other.await_start(LOOK)? {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Cuts a step into parts, hands those of the others on, and returns that of worker 0.
    pub fn cut(&self, batch: Batch) -> Result<Batch> {
        let Some(others) = &self.0 else { return Ok(batch) };
        let mut others = others.borrow_mut();
        let (mut parts, whole) = others.parts.of_batch(batch);
        others.whole.push_back(whole);
        for (worker, part) in parts.iter().enumerate() {
            let samples = part.unlabelled.size()[0] as u64;
            others.first.efforts().add(worker, Effort { samples, ..Effort::default() });
        }
        let rest = parts.split_off(1);
        others.hand_on(rest.into_iter().map(|part| Task::Score(part.into())))?;
        parts.pop().ok_or_else(|| gone(0))
    }

    /// Waits for the scores of the others, and puts them together with those of worker 0.
    pub fn join(&self, own: Scored) -> Result<Scored> {
        let Some(others) = &self.0 else { return Ok(own) };
        let mut others = others.borrow_mut();
        let whole = others.whole.pop_front().ok_or_else(|| gone(0))?;
        let (mut all, began) = (vec![own], Instant::now());
        for other in &others.others {
            all.push(other.scored()?);
        }
        let waited_s = began.elapsed().as_secs_f64();
        others.first.efforts().add(0, Effort { waited_s, ..Effort::default() });
        others.parts.join(whole, all)
    }

    /// Deals out what was selected, and returns what worker 0 trains on.
    pub fn deal(&self, selected: Selected) -> Result<Selected> {
        let Some(others) = &self.0 else { return Ok(selected) };
        let others = others.borrow();
        let mut dealt = others.parts.of_selected(selected);
        let rest = dealt.split_off(1);
        others.hand_on(rest.into_iter().map(|part| Task::Learn(part.into())))?;
        dealt.pop().ok_or_else(|| gone(0))
    }

    /// Trains worker 0's `student`. Where the step's state is saved, fails unless all workers have the same weights then.
    pub fn learn(&self, student: &mut Student, batch: TrainingBatch) -> Result<(StepResult, Weights)> {
        let learned = student.learn(batch)?;
        let (Some(others), Some(_)) = (&self.0, &learned.0.info.snapshot) else { return Ok(learned) };
        let own = student.fingerprint()?;
        for (index, other) in others.borrow().others.iter().enumerate() {
            if other.weights()? != own {
                let reason = format!(
                    "worker {}'s weights differ from those of worker 0, though both took the same updates: run all workers \
                     on the same kind of processor or GPU",
                    index + 1
                );
                return Err(Error::Engine(reason));
            }
        }
        Ok(learned)
    }

    /// Returns what the workers have done, for the report; nothing of worker 0 alone.
    pub fn efforts(&self) -> Efforts {
        self.0.as_ref().map_or_else(Efforts::default, |others| others.borrow().first.efforts().clone())
    }

    /// Ends all workers, as worker 0 has ended by an `error`. Returns the failure of another worker if that came of it.
    pub fn fail(&self, error: Error) -> Error {
        let Some(others) = &self.0 else { return error };
        let others = others.borrow();
        let elsewhere = others.others.iter().find_map(|other| other.failure());
        others.first.end(Some(elsewhere.unwrap_or(error))); // the first failure stays
        others.first.failure().unwrap_or_else(|| gone(0))
    }
}

impl Others {
    fn hand_on(&self, tasks: impl Iterator<Item = Task>) -> Result<()> {
        self.others.iter().zip(tasks).try_for_each(|(other, task)| other.hand_on(task))
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.first.end(None);
    }
}

impl Beside for Here {
    fn await_start(&self, patience: Duration) -> Result<bool> {
        match self.started.recv_timeout(patience) {
            Ok(started) => started.map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(gone(self.index)),
        }
    }

    fn hand_on(&self, task: Task) -> Result<()> {
        let sent = self.tasks.as_ref().and_then(|tasks| tasks.send(task).ok());
        sent.ok_or_else(|| gone(self.index))
    }

    fn scored(&self) -> Result<Scored> {
        self.scored.recv().map_err(|_| gone(self.index))
    }

    fn weights(&self) -> Result<u64> {
        self.weights.recv().map_err(|_| gone(self.index))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        drop(self.tasks.take());
        self.thread.take().map(JoinHandle::join);
    }
}

fn gone(worker: usize) -> Error {
    Error::Engine(format!("worker {worker} has ended"))
}
