//! Several workers: worker 0 is the dataflow. It alone cuts steps and owns what is known of samples and labels; all of them make
//! views, scores and gradients of their part of each step. The others are threads that take parts in the order of the steps.
//!
//! ```text
//! worker 0   batch ─► cut ─► weak ─► teach ─► join ─► filter ─► deal ─► strong ─► learn ─► report
//!                      ║                       ║                  ║               ║ gradients are added up
//! others               ╚═════► weak ─► teach ══╝                  ╚══► strong ─► learn
//! ```
//!
//! Every worker trains the same weights: they add up their gradients in each update, in the order of the workers
//! ([`Team`](sluicebox_learn::stages::team::Team)). So a worker's teacher follows its own student. At most as many steps are under
//! way as in the dataflow.

use crate::engine::flow::failure::Failure;
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::{Batch, Scored, Selected, Views, Weights};
use sluicebox_learn::stages::effort::{Effort, Efforts};
use sluicebox_learn::stages::parts::Parts;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::teacher::Teacher;
use sluicebox_learn::stages::team::Member;
use sluicebox_learn::stages::views::{StrongViews, WeakViews};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What a worker beside the first computes with.
pub struct Arm {
    /// Makes its weak views.
    pub weak: WeakViews,
    /// Scores them.
    pub teacher: Teacher,
    /// Makes its strong views.
    pub strong: StrongViews,
    /// Its replica of the student.
    pub student: Student,
    /// `teacher.lag`
    pub lag: u64,
}

/// The workers beside the first, if there are any; clones share them.
#[derive(Clone)]
pub struct Workers(Option<Rc<RefCell<Others>>>);

struct Others {
    parts: Parts,
    first: Member,
    /// Steps that are cut and not joined: what is needed of them whole.
    whole: VecDeque<Batch>,
    others: Vec<Other>,
}

struct Other {
    tasks: Sender<Task>,
    scored: Receiver<Scored>,
    started: Receiver<Result<()>>,
    thread: Option<JoinHandle<()>>,
}

enum Task {
    Score(Box<Batch>),
    Learn(Box<Selected>),
}

impl Workers {
    /// Worker 0 alone.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Worker 0 with others, which [`Workers::start`] adds.
    pub fn of(first: Member, parts: Parts) -> Self {
        let others = Others { parts, first, whole: VecDeque::new(), others: Vec::new() };
        Self(Some(Rc::new(RefCell::new(others))))
    }

    /// Starts worker `index`; `build` is called on its thread.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system has no thread left.
    pub fn start(
        &mut self,
        index: usize,
        build: impl FnOnce() -> Result<(Arm, Member)> + Send + 'static,
    ) -> Result<()> {
        let Some(others) = &self.0 else { return Ok(()) };
        let ((tasks, to_do), (tell, scored), (begun, started)) = (channel(), channel(), channel());
        let work = move || {
            let failure = Failure::default();
            match failure.guard(&format!("start of worker {index}"), 0, || Ok(build())) {
                Some(Ok((arm, member))) => {
                    let _ = begun.send(Ok(()));
                    work(arm, &member, &to_do, &tell);
                }
                Some(Err(error)) => drop(begun.send(Err(error))),
                None => drop(begun.send(failure.into_result())),
            }
        };
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(work);
        let thread = Some(thread.map_err(|error| Error::Engine(format!("worker {index}: {error}")))?);
        others.borrow_mut().others.push(Other { tasks, scored, started, thread });
        Ok(())
    }

    /// Waits until all workers are built.
    ///
    /// # Errors
    /// Those of building.
    pub fn await_start(&self) -> Result<()> {
        let Some(others) = &self.0 else { return Ok(()) };
        let others = others.borrow();
        others.others.iter().try_for_each(|other| other.started.recv().unwrap_or_else(|_| Err(others.gone())))
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
        parts.pop().ok_or_else(|| others.gone())
    }

    /// Waits for the scores of the others, and puts them together with those of worker 0.
    pub fn join(&self, own: Scored) -> Result<Scored> {
        let Some(others) = &self.0 else { return Ok(own) };
        let mut others = others.borrow_mut();
        let whole = others.whole.pop_front().ok_or_else(|| others.gone())?;
        let (mut all, began) = (vec![own], Instant::now());
        for other in &others.others {
            all.push(other.scored.recv().map_err(|_| others.gone())?);
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
        dealt.pop().ok_or_else(|| others.gone())
    }

    /// Returns what the workers have done, for the report; nothing of worker 0 alone.
    pub fn efforts(&self) -> Efforts {
        self.0.as_ref().map_or_else(Efforts::default, |others| others.borrow().first.efforts().clone())
    }

    /// Returns the failure of another worker in place of an `error` that came of it.
    pub fn cause(&self, error: Error) -> Error {
        let failure = self.0.as_ref().and_then(|others| others.borrow().first.failure());
        failure.unwrap_or(error)
    }
}

impl Others {
    fn hand_on(&self, tasks: impl Iterator<Item = Task>) -> Result<()> {
        self.others
            .iter()
            .zip(tasks)
            .try_for_each(|(other, task)| other.tasks.send(task).map_err(|_| self.gone()))
    }

    fn gone(&self) -> Error {
        Error::Engine("another worker has ended".into())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.first.end(None);
        for other in self.others.drain(..) {
            drop(other.tasks);
            other.thread.map(JoinHandle::join);
        }
    }
}

/// Does a worker's tasks in order until there are no more, or one fails.
fn work(mut arm: Arm, member: &Member, tasks: &Receiver<Task>, tell: &Sender<Scored>) {
    let failure = Failure::default();
    let name = |operator: &str| format!("{operator} on worker {}", member.index);
    let mut weights: VecDeque<(u64, Weights)> = arm.student.in_flight().into();
    // Steps that await their weights, and the first step that is not learned.
    let (mut waiting, mut learned): (VecDeque<Views>, Option<u64>) = (VecDeque::new(), None);
    for task in tasks {
        let began = Instant::now();
        match task {
            Task::Score(batch) => {
                let step = batch.info.step;
                learned.get_or_insert(step);
                waiting.extend(failure.guard(&name("weak"), step, || arm.weak.view(*batch)));
            }
            Task::Learn(selected) => {
                let step = selected.training_batch.info.step;
                let batch = failure.guard(&name("strong"), step, || arm.strong.view(*selected));
                let done =
                    batch.and_then(|batch| failure.guard(&name("learn"), step, || arm.student.learn(batch)));
                weights.extend(done.map(|(_, version)| (step + arm.lag, version)));
                learned = Some(step + 1);
            }
        }
        let is_due = |views: &Views| learned.is_none_or(|learned| views.batch.info.step < learned + arm.lag);
        while waiting.front().is_some_and(is_due) {
            let Some(views) = waiting.pop_front() else { break };
            let step = views.batch.info.step;
            while weights.front().is_some_and(|(at, _)| *at <= step) {
                weights.pop_front().iter().for_each(|(_, version)| arm.teacher.receive(version));
            }
            match failure.guard(&name("teach"), step, || arm.teacher.score(views)) {
                Some(scored) => drop(tell.send(scored)),
                None => break,
            }
        }
        let stages_s = began.elapsed().as_secs_f64();
        member.efforts().add(member.index, Effort { stages_s, ..Effort::default() });
        if failure.is_set() {
            break;
        }
    }
    member.end(failure.into_result().err());
}
