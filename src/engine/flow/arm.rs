//! What a worker beside the first does: its parts of the steps, in the order of the steps. It runs on a thread of worker 0's
//! process or of another one.

use crate::engine::flow::failure::Failure;
use sluicebox_core::error::{Error, Result};
use sluicebox_learn::messages::{Batch, Scored, Selected, Views, Weights};
use sluicebox_learn::stages::effort::Effort;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::teacher::Teacher;
use sluicebox_learn::stages::team::Member;
use sluicebox_learn::stages::views::{StrongViews, WeakViews};
use std::collections::VecDeque;
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

/// A part of a step.
pub enum Task {
    /// Make weak views and score them.
    Score(Box<Batch>),
    /// Make strong views and train on them.
    Learn(Box<Selected>),
}

/// What a worker says of a part.
pub enum Told {
    /// The scores.
    Scored(Box<Scored>),
    /// The hash of its weights after a step whose state is saved.
    Weights(u64),
}

/// Tells a worker's team that it ends, also by a panic.
struct Ending<'a>(&'a Member, Failure);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end(self.1.clone().into_result().err());
    }
}

impl Arm {
    /// Does a worker's `tasks` in order until there are no more, or one fails.
    pub fn work(
        mut self,
        member: &Member,
        tasks: impl Iterator<Item = Result<Task>>,
        mut tell: impl FnMut(Told),
    ) {
        let failure = Failure::default();
        let _ending = Ending(member, failure.clone());
        let name = |operator: &str| format!("{operator} on worker {}", member.index);
        let mut weights: VecDeque<(u64, Weights)> = self.student.in_flight().into();
        // Steps that await their weights, and the first step that is not learned.
        let (mut waiting, mut learned): (VecDeque<Views>, Option<u64>) = (VecDeque::new(), None);
        for task in tasks {
            let began = Instant::now();
            match task {
                Ok(Task::Score(batch)) => {
                    let step = batch.info.step;
                    learned.get_or_insert(step);
                    waiting.extend(failure.guard(&name("weak"), step, || self.weak.view(*batch)));
                }
                Ok(Task::Learn(selected)) => {
                    let step = selected.training_batch.info.step;
                    let batch = failure.guard(&name("strong"), step, || self.strong.view(*selected));
                    let done = batch.and_then(|batch| {
                        let compared = batch.info.compared;
                        failure.guard(&name("learn"), step, || {
                            let (_, version) = self.student.learn(batch)?;
                            let hash = compared.then(|| self.student.fingerprint()).transpose()?;
                            Ok((version, hash))
                        })
                    });
                    let Some((version, hash)) = done else { break };
                    weights.push_back((step + self.lag, version));
                    hash.map(Told::Weights).into_iter().for_each(&mut tell);
                    learned = Some(step + 1);
                }
                Err(error) => {
                    let step = learned.unwrap_or_default();
                    failure.guard::<()>(&format!("tasks of worker {}", member.index), step, || Err(error));
                }
            }
            let is_due =
                |views: &Views| learned.is_none_or(|learned| views.batch.info.step < learned + self.lag);
            while waiting.front().is_some_and(is_due) {
                let Some(views) = waiting.pop_front() else { break };
                let step = views.batch.info.step;
                while weights.front().is_some_and(|(at, _)| *at <= step) {
                    weights.pop_front().iter().for_each(|(_, version)| self.teacher.receive(version));
                }
                match failure.guard(&name("teach"), step, || self.teacher.score(views)) {
                    Some(scored) => tell(Told::Scored(scored.into())),
                    None => break,
                }
            }
            let stages_s = began.elapsed().as_secs_f64();
            member.efforts().add(member.index, Effort { stages_s, ..Effort::default() });
            if failure.is_set() {
                break;
            }
        }
    }

    /// Builds a worker on this thread. An error or a panic of `build` becomes an error that names the worker.
    ///
    /// # Errors
    /// That of `build`.
    pub fn begin(index: usize, build: impl FnOnce() -> Result<Arm>) -> Result<Arm> {
        let failure = Failure::default();
        let built = failure.guard(&format!("start of worker {index}"), 0, || Ok(build()));
        match built {
            Some(built) => built,
            None => Err(failure.into_result().err().unwrap_or_else(|| Error::Engine("no worker".into()))),
        }
    }
}
