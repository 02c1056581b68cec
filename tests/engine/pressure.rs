//! Back-pressure and failure, with stages made for these tests.

use crate::support::{prepared, small_job};
use sluicebox::engine::flow;
use sluicebox::job::Job;
use sluicebox_core::controls::Controls;
use sluicebox_core::error::Error;
use sluicebox_core::error::Result;
use sluicebox_core::rng::Randomness;
use sluicebox_core::sample::{Format, Labelled, Samples};
use sluicebox_core::state::Stateful;
use sluicebox_learn::messages::Scores;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::method::api::PseudoLabeller;
use sluicebox_learn::pseudo_labels::PseudoLabels;
use sluicebox_stream::microbatch::batcher::MicroBatcher;
use sluicebox_stream::microbatch::late_labels::LateLabels;
use sluicebox_stream::microbatch::mix::Mix;
use sluicebox_stream::microbatch::plan::BatchPlan;
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, HeldOut, ReadProgress, Source};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Samples read, steps judged, and the largest number of samples between the two.
#[derive(Default)]
struct Gauge {
    read: Cell<u64>,
    judged: Cell<u64>,
    most: Cell<u64>,
}

/// A source that counts the samples read; it returns at most `at_most` per read.
struct Counting {
    inner: Box<dyn Source>,
    gauge: Rc<Gauge>,
    at_most: usize,
}

impl Source for Counting {
    fn format(&self) -> &Format {
        self.inner.format()
    }
    fn labelled(&mut self) -> Result<Labelled> {
        self.inner.labelled()
    }
    fn held_out(&self, limit: usize) -> Result<Option<Box<dyn HeldOut>>> {
        self.inner.held_out(limit)
    }
    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        let given = count.min(self.at_most);
        self.inner.read(given, samples)?;
        self.gauge.read.set(self.gauge.read.get() + given as u64);
        Ok(if given == count { ReadProgress::Full } else { ReadProgress::NotYet })
    }
}

impl Stateful for Counting {
    fn save(&self) -> Result<Vec<u8>> {
        self.inner.save()
    }
    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.inner.load(state)
    }
}

/// A pseudo-labeller that is slow, or panics at a step.
struct Slow {
    inner: Box<dyn PseudoLabeller>,
    gauge: Rc<Gauge>,
    batch: u64,
    panics_at: Option<u64>,
}

impl PseudoLabeller for Slow {
    fn pseudo_label(&mut self, scores: &Scores) -> PseudoLabels {
        std::thread::sleep(Duration::from_millis(2));
        let step = self.gauge.judged.get();
        assert!(Some(step) != self.panics_at, "a bug in a method");
        let ahead = self.gauge.read.get() - step * self.batch;
        self.gauge.most.set(self.gauge.most.get().max(ahead));
        self.gauge.judged.set(step + 1);
        self.inner.pseudo_label(scores)
    }
}

impl Stateful for Slow {
    fn save(&self) -> Result<Vec<u8>> {
        self.inner.save()
    }
    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.inner.load(state)
    }
}

fn run(job: &Job, at_most: usize, panics_at: Option<u64>) -> (Result<()>, Rc<Gauge>) {
    let gauge = Rc::new(Gauge::default());
    let mut stages = prepared(job).stages;
    let inner = (SOURCES.find("digits").unwrap().build)(&job.sources[0].spec, &Context::default()).unwrap();
    let source = Counting { inner, gauge: gauge.clone(), at_most };
    let sources = Mix::new(vec![(Box::new(source), 1.0)]).unwrap();
    let schedule = BatchPlan {
        batch: job.batch.unlabelled,
        max_wait: job.batch.max_wait,
        epoch_steps: job.epoch.steps,
        epoch_time: None,
        stop_step: job.stop_step(),
        stop_samples: None,
        checkpoint_steps: None,
        checkpoint_epochs: false,
        phases: None,
    };
    let labels = LateLabels::new(0.0, 0, Randomness::new(0, 0));
    stages.feed = MicroBatcher::new(sources, labels, schedule, Controls::default(), None, None).unwrap();
    let inner = (METHODS.find("fixmatch").unwrap().build)(&job.method).unwrap().pseudo_labeller();
    let slow = Slow { inner, gauge: gauge.clone(), batch: job.batch.unlabelled as u64, panics_at };
    stages.filter.pseudo_labeller = Box::new(slow);
    (flow::run(stages), gauge)
}

#[test]
fn a_slow_stage_holds_the_source_back() {
    for window in [1, 3, 8] {
        let job = small_job(&[&format!("flow.window={window}")]);
        let (result, gauge) = run(&job, usize::MAX, None);
        result.unwrap();
        assert_eq!(gauge.judged.get(), 24);
        // The step being judged is within the window as well.
        assert!(gauge.most.get() <= window * 128, "{} samples at window {window}", gauge.most.get());
        assert_eq!(gauge.most.get(), window * 128, "the window is used");
    }
}

#[test]
fn a_slow_stream_still_learns_in_partial_batches() {
    // Three samples per read and a millisecond between reads: 20 ms never fill a batch of 128.
    let job = small_job(&["batch.max_wait=20ms"]);
    let (result, gauge) = run(&job, 3, None);
    result.unwrap();
    assert_eq!(gauge.judged.get(), 24);
    assert!(gauge.read.get() < 24 * 128, "batches were waited for");
}

#[test]
fn a_panic_ends_the_run_with_the_operators_name() {
    let (result, _) = run(&small_job(&[]), usize::MAX, Some(5));
    match result {
        Err(Error::Operator { operator, step, reason }) => {
            assert_eq!((operator.as_str(), step), ("filter", 5));
            assert!(reason.contains("a bug in a method"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
