//! The wiring of the dataflow. The only folder that imports timely and differential-dataflow. It never
//! imports tch: the stages are passed in and only called here.

mod batch;
mod commit;
mod filter;
mod learn;
pub mod ledger;
mod ledger_totals;
mod ledger_window;
mod report;
mod source;
mod strong;
mod teach;
mod timing;
mod weak;

use crate::engine::checkpoint::Store;
use crate::engine::metrics::Reporter;
pub use ledger::Ledger;
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::ledger::LedgerStats;
use sluicebox_core::report::pipeline::STAGES;
use sluicebox_core::step::Edge;
use sluicebox_learn::messages::Weights;
use sluicebox_learn::stages::collate::Collate;
use sluicebox_learn::stages::filter::Filter;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::teacher::Teacher;
use sluicebox_learn::stages::views::{StrongViews, WeakViews};
use sluicebox_learn::torch::first_line;
use sluicebox_stream::microbatch::batcher::MicroBatcher;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{ConnectLoop, Feedback};
use timely::dataflow::{Scope, StreamVec};
use timely::worker::{Config, Worker};

/// The stages, each the only owner of its state, and the lengths of the feedback edges.
pub struct Stages {
    /// `[flow]`: steps in flight.
    pub window: u64,
    /// Delay of the weights from student to teacher, in steps.
    pub lag: u64,
    /// Weights that were on the feedback edge, each with the step at which the teacher receives it.
    pub in_flight: Vec<(u64, Weights)>,
    /// Steps at whose start replay weights decay, from drift alarms already raised.
    pub reweights: Vec<u64>,
    /// source
    pub feed: MicroBatcher,
    /// batch
    pub batcher: Collate,
    /// weak
    pub weak: WeakViews,
    /// teach
    pub teacher: Teacher,
    /// filter
    pub filter: Filter,
    /// strong
    pub strong: StrongViews,
    /// learn
    pub student: Student,
    /// ledger, if the job has one
    pub ledger: Option<Ledger>,
    /// report
    pub reporter: Rc<RefCell<Reporter>>,
    /// commit
    pub store: Rc<RefCell<Store>>,
}

/// Edges of the dataflow drawn below: from, to, and whether it is a feedback edge.
pub const EDGES: [(&str, &str, bool); 13] = [
    ("source", "batch", false),
    ("batch", "weak", false),
    ("weak", "teach", false),
    ("teach", "filter", false),
    ("filter", "strong", false),
    ("strong", "learn", false),
    ("learn", "report", false),
    ("report", "commit", false),
    ("report", "ledger", false),
    ("ledger", "commit", false),
    ("learn", "teach", true),
    ("ledger", "filter", true),
    ("commit", "source", true),
];

/// Wires the stages:
///
/// ```text
///                                   ┌─ statistics, feedback(lag) ── ledger ─┐
///                                   ▼                                 ▲     ▼
/// source ─► batch ─► weak ─► teach ─► filter ─► strong ─► learn ─► report ─► commit
///   ▲                          └── weights, feedback(lag) ──┘                  │
///   └───────────────── credit and alarms, feedback(window) ────────────────────┘
/// ```
fn build(scope: Scope<'_, u64>, stages: Stages, failure: &Failure) {
    let Stages { ledger, reporter, .. } = stages;
    let known = ledger.as_ref().map_or(Vec::new(), Ledger::in_flight);
    let (credit_loop, credit) = scope.feedback::<Vec<u64>>(stages.window);
    let (weights_loop, weights) = scope.feedback::<Vec<Weights>>(stages.lag);
    let ledger_lag = ledger.as_ref().map_or(1, |ledger| ledger.lag);
    let (standings_loop, ledger_stats) = scope.feedback::<Vec<LedgerStats>>(ledger_lag);

    let chunks = source::source(scope, credit, stages.window, stages.reweights, stages.feed, failure);
    let batches = batch::batch(chunks, stages.batcher, failure);
    let views = weak::weak(batches, stages.weak, failure);
    let scored = teach::teach(views, weights, stages.teacher, stages.in_flight, failure);
    let judged = filter::filter(scored, ledger_stats, stages.filter, known, failure);
    let lessons = strong::strong(judged, stages.strong, failure);
    let (outcomes, versions) = learn::learn(lessons, stages.student, failure);
    let (reported, facts) = report::report(outcomes, reporter.clone(), ledger.is_some(), failure);
    let (ledger_stats, accounts) = ledger::ledger(facts, ledger, failure);
    let done = commit::commit(reported, accounts, reporter, stages.store, failure);

    versions.connect_loop(weights_loop);
    ledger_stats.connect_loop(standings_loop);
    done.connect_loop(credit_loop);
}

/// Runs the dataflow on this thread until the source ends or a stage fails.
pub fn run(stages: Stages) -> Result<()> {
    let failure = Failure::default();
    let allocator = Allocator::Thread(Thread::default());
    let mut worker = Worker::new(Config::default(), allocator, Some(Instant::now()));
    let index = worker.next_dataflow_index();
    timing::listen(&worker, stages.reporter.borrow().busy());
    worker.dataflow_named("sluicebox", |scope| build(scope, stages, &failure));
    while worker.has_dataflows() && !failure.is_set() {
        worker.step_or_park(Some(Duration::from_millis(100)));
    }
    if worker.has_dataflows() {
        worker.drop_dataflow(index);
    }
    failure.into_result()
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a panic on this thread would now be caught and reported as the failure of an operator.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// The first failure of a stage. Once it is set, no stage is called again.
#[derive(Clone, Default)]
pub struct Failure(Rc<RefCell<Option<Error>>>);

impl Failure {
    fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn into_result(self) -> Result<()> {
        match self.0.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Calls a stage. An error or a panic becomes the failure of `operator` at `step`.
    fn guard<T>(&self, operator: &str, step: u64, stage: impl FnOnce() -> Result<T>) -> Option<T> {
        if self.is_set() {
            return None;
        }
        GUARDED.set(true);
        let result = catch_unwind(AssertUnwindSafe(stage));
        GUARDED.set(false);
        let reason = match result {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => first_line(&message(&*panic)),
        };
        *self.0.borrow_mut() = Some(Error::Operator { operator: operator.into(), step, reason });
        None
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_string()
}

/// Index in [`STAGES`] of the operator called `name`.
fn column(name: &str) -> usize {
    STAGES.iter().position(|stage| *stage == name).unwrap_or(0)
}

/// Builds an operator that calls `stage` on each step as it arrives.
fn each_step<'scope, A: Edge, B: Edge>(
    steps: StreamVec<'scope, u64, A>,
    name: &'static str,
    failure: &Failure,
    mut stage: impl FnMut(A) -> Result<B> + 'static,
) -> StreamVec<'scope, u64, B> {
    let failure = failure.clone();
    steps.unary(Pipeline, name, move |_capability, _info| {
        move |input, output| {
            input.for_each_stamp(|capability, containers| {
                let mut session = output.session(&capability);
                for mut message in containers.flat_map(|container| container.drain(..)) {
                    let step = message.info().step;
                    let start = Instant::now();
                    if let Some(mut done) = failure.guard(name, step, || stage(message)) {
                        done.info().stage_s[column(name)] += start.elapsed().as_secs_f64();
                        session.give(done);
                    }
                }
            });
        }
    })
}
