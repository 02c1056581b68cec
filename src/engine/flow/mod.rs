//! The wiring of the dataflow. The only folder that imports timely and differential-dataflow. It never
//! imports tch: the stages are passed in and only called here.

mod arm;
mod commit;
mod failure;
pub mod ledger;
mod operator;
mod source;
mod timing;
mod workers;

use crate::engine::checkpoint::Store;
use crate::engine::metrics::Reporter;
pub use arm::{Arm, Task, Told};
pub use failure::{Failure, is_guarded};
pub use ledger::Ledger;
use operator::{Feedback, each_step, each_step_with_two_outputs, with_feedback};
use sluicebox_core::error::Result;
use sluicebox_learn::messages::{TrainingBatch, Weights};
use sluicebox_learn::stages::collate::Collate;
use sluicebox_learn::stages::filter::Filter;
use sluicebox_learn::stages::student::Student;
use sluicebox_learn::stages::teacher::Teacher;
use sluicebox_learn::stages::views::{StrongViews, WeakViews};
use sluicebox_stream::microbatch::batcher::MicroBatcher;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::Scope;
use timely::dataflow::operators::{ConnectLoop, Feedback as _};
use timely::worker::{Config, Worker};
pub use workers::{Beside, Workers};

/// The stages, each the only owner of its state, and the lengths of the feedback edges.
pub struct Stages {
    /// `[flow]`: steps in flight.
    pub window: u64,
    /// Delay of the weights from student to teacher, in steps.
    pub lag: u64,
    /// Weights that were on the feedback edge, each with the step at which the teacher receives it.
    pub in_flight: Vec<(u64, Weights)>,
    /// Steps at whose start replay weights decay, from drift alarms already raised.
    pub decay_replay_at: Vec<u64>,
    /// `source`: cuts the stream into micro-batches.
    pub feed: MicroBatcher,
    /// `batch`: turns plain data into tensors on the device and adds labelled samples.
    pub batcher: Collate,
    /// `weak`: makes the weak views of a batch and the views of its labelled samples.
    pub weak: WeakViews,
    /// `teach`: scores a step once its weights have arrived: those of step t - lag reach step t.
    pub teacher: Teacher,
    /// `filter`: turns scores into pseudo-labels and passes on the accepted samples. Where the method or the
    /// gate uses ledger statistics, step t waits for those of step t - lag.
    pub filter: Filter,
    /// `strong`: makes the strong views of the samples that the filter selected.
    pub strong: StrongViews,
    /// `learn`: the student's step. Its weights go back to `teach`.
    pub student: Student,
    /// The workers beside this one: each has its part of what `weak`, `teach`, `strong` and `learn` do.
    pub workers: Workers,
    /// `ledger`: joins pseudo-labels and labels and counts both, if the job has a ledger.
    pub ledger: Option<Ledger>,
    /// `report`: adds up step results and makes the report of each epoch.
    pub reporter: Rc<RefCell<Reporter>>,
    /// `commit`: writes the snapshot of a step to disk.
    pub store: Rc<RefCell<Store>>,
}

/// Wires the stages as [`PIPELINE`](sluicebox_core::report::pipeline::PIPELINE) says:
///
/// ```text
///                                   ┌─ statistics, feedback(lag) ── ledger ─┐
///                                   ▼                                 ▲     ▼
/// source ─► batch ─► weak ─► teach ─► filter ─► strong ─► learn ─► report ─► commit
///   ▲                          └── weights, feedback(lag) ──┘                  │
///   └───────────────── credit and alarms, feedback(window) ────────────────────┘
/// ```
fn build(scope: Scope<'_, u64>, stages: Stages, failure: &Failure) {
    let Stages { mut batcher, mut weak, mut teacher, mut filter, mut strong, mut student, .. } = stages;
    let Stages { ledger, reporter, workers, .. } = stages;
    let [cut, join, deal, learn_with] = std::array::from_fn(|_| workers.clone());
    let (with_ledger, ledger_lag) = (ledger.is_some(), ledger.as_ref().map_or(1, |ledger| ledger.lag));
    let (credit_loop, credit) = scope.feedback(stages.window);
    let (weights_loop, stream) = scope.feedback(stages.lag);
    let weights = Feedback { stream, in_flight: stages.in_flight, waits: true };
    let (stats_loop, stream) = scope.feedback(ledger_lag);
    let in_flight = ledger.as_ref().map_or(Vec::new(), Ledger::in_flight);
    let stats = Feedback { stream, in_flight, waits: filter.waits() };

    let steps = source::source(scope, credit, stages.window, stages.decay_replay_at, stages.feed, failure);
    let batches = each_step(steps, "batch", failure, move |micro_batch| batcher.batch(micro_batch));
    let views = each_step(batches, "weak", failure, move |batch| weak.view(cut.cut(batch)?));
    let scored = with_feedback(views, weights, "teach", failure, move |views, weights: Option<Weights>| {
        weights.iter().for_each(|weights| teacher.receive(weights));
        join.join(teacher.score(views)?)
    });
    let selected = with_feedback(scored, stats, "filter", failure, move |mut scored, stats| {
        scored.scores.ledger_stats = stats;
        filter.judge(scored)
    });
    let chosen = each_step(selected, "strong", failure, move |selected| strong.view(deal.deal(selected)?));
    let learn = move |training_batch: TrainingBatch| {
        let step = training_batch.info.step;
        let learned = learn_with.learn(&mut student, training_batch);
        learned.map(|(result, weights)| (result, vec![(step, weights)]))
    };
    let (results, weights) = each_step_with_two_outputs(chosen, "learn", true, failure, learn);
    let adding = reporter.clone();
    let report = move |result| adding.borrow_mut().add(result);
    let (reported, ledger_input) =
        each_step_with_two_outputs(results, "report", with_ledger, failure, report);
    let (stats, ledger_reports) = ledger::ledger(ledger_input, ledger, failure);
    let done = commit::commit(reported, ledger_reports, reporter, stages.store, failure);

    weights.connect_loop(weights_loop);
    stats.connect_loop(stats_loop);
    done.connect_loop(credit_loop);
}

/// Runs the dataflow on this thread until the source ends or a stage fails.
pub fn run(stages: Stages) -> Result<()> {
    let failure = Failure::default();
    let workers = stages.workers.clone();
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
    failure.into_result().map_err(|error| workers.fail(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::run::{Options, Parts, prepare};
    use sluicebox_core::report::pipeline::PIPELINE;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use timely::logging::{TimelyEvent, TimelyEventBuilder};

    /// Returns the edges of a job's dataflow as timely logs them: (from, to, feedback).
    fn wired(sets: &[&str]) -> BTreeSet<(String, String, bool)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/digits.toml");
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        let job = Job::load(&path, &sets).unwrap();
        let stages = prepare(Parts::default(), &job, &Options::default(), Arc::new(AtomicBool::new(false)))
            .unwrap()
            .stages;
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(Config::default(), allocator, Some(Instant::now()));
        let operators: Rc<RefCell<BTreeMap<usize, String>>> = Rc::default();
        let channels: Rc<RefCell<Vec<(usize, usize)>>> = Rc::default();
        let (named, joined) = (operators.clone(), channels.clone());
        worker.log_register().unwrap().insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (_, event) in events.iter().flat_map(|events| events.iter()) {
                match event {
                    TimelyEvent::Operates(operator) if operator.addr.len() == 2 => {
                        named.borrow_mut().insert(operator.addr[1], operator.name.clone());
                    }
                    TimelyEvent::Channels(channel) if channel.scope_addr.len() == 1 => {
                        joined.borrow_mut().push((channel.source.0, channel.target.0));
                    }
                    _ => {}
                }
            }
        });
        let index = worker.next_dataflow_index();
        worker.dataflow_named("sluicebox", |scope| build(scope, stages, &Failure::default()));
        worker.drop_dataflow(index);
        worker.log_register().unwrap().flush();

        let (operators, channels) = (operators.borrow(), channels.borrow());
        let is_feedback = |operator: &usize| operators[operator] == "Feedback";
        let stage = |operator: &usize| {
            let name = operators[operator].as_str();
            PIPELINE.position(name).map_or("ledger", |_| name).to_string()
        };
        let mut edges = BTreeSet::new();
        for (from, to) in channels.iter().filter(|(_, to)| !is_feedback(to)) {
            let sender = channels.iter().find(|(_, target)| target == from).filter(|_| is_feedback(from));
            let sender = sender.map_or(from, |(sender, _)| sender);
            if operators[sender] != "Empty" && stage(sender) != stage(to) {
                edges.insert((stage(sender), stage(to), is_feedback(from)));
            }
        }
        edges
    }

    #[test]
    fn the_dataflow_is_wired_as_the_table_says() {
        for (ledger, sets) in [(false, &[][..]), (true, &["ledger.retain=100"])] {
            let table = PIPELINE.edges(ledger);
            let table: BTreeSet<_> = table.map(|(from, to, back)| (from.into(), to.into(), back)).collect();
            assert_eq!(wired(sets), table, "with a ledger: {ledger}");
        }
    }
}
