//! The ledger alone in a dataflow: facts go in, ledger statistics and accounts come out.

#![allow(dead_code, missing_docs)]

use differential_dataflow::logging::{DifferentialEvent, DifferentialEventBuilder};
use sluicebox::engine::flow::{Failure, Ledger, ledger};
use sluicebox_core::report::ledger::{LedgerReport, LedgerStats};
use sluicebox_core::sample_id::SampleId;
use sluicebox_core::step::{LedgerInput, Prediction};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::{Config, Worker};

pub struct Alone {
    worker: Worker,
    input: InputHandle<u64, CapacityContainerBuilder<Vec<LedgerInput>>>,
    probe: ProbeHandle<u64>,
    ledger_stats: Rc<RefCell<Vec<LedgerStats>>>,
    reports: Rc<RefCell<Vec<LedgerReport>>>,
    /// Updates in all traces.
    held: Rc<RefCell<i64>>,
}

impl Alone {
    pub fn new(kept: Ledger) -> Self {
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(Config::default(), allocator, Some(Instant::now()));
        let held = Rc::new(RefCell::new(0));
        let counted = held.clone();
        worker.log_register().unwrap().insert::<DifferentialEventBuilder, _>(
            "differential/arrange",
            move |_, events| {
                let mut held = counted.borrow_mut();
                for (_, event) in events.iter().flat_map(|events| events.iter()) {
                    *held += match event {
                        DifferentialEvent::Batch(batch) => batch.length as i64,
                        DifferentialEvent::Drop(batch) => -(batch.length as i64),
                        DifferentialEvent::Merge(merge) => merge
                            .complete
                            .map_or(0, |length| length as i64 - merge.length1 as i64 - merge.length2 as i64),
                        _ => 0,
                    };
                }
            },
        );
        let mut input = InputHandle::new();
        let probe = ProbeHandle::new();
        let seen_stats = Rc::new(RefCell::new(Vec::new()));
        let reports = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow(|scope| {
            let (ledger_stats, report) =
                ledger::ledger(input.to_stream(scope), Some(kept), &Failure::default());
            let (seen, shown) = (seen_stats.clone(), reports.clone());
            let report = report.inspect(move |report: &LedgerReport| shown.borrow_mut().push(report.clone()));
            report.map(|_| ()).probe_with(&probe);
            let ledger_stats = ledger_stats
                .inspect(move |ledger_stats: &LedgerStats| seen.borrow_mut().push(ledger_stats.clone()));
            ledger_stats.map(|_| ()).probe_with(&probe);
        });
        Self { worker, input, probe, ledger_stats: seen_stats, reports, held }
    }

    /// Hands in a step; its results are available once `settle` returns.
    pub fn hand_in(&mut self, ledger_input: LedgerInput) {
        let step = ledger_input.step;
        self.input.advance_to(step);
        self.input.send(ledger_input);
        self.input.advance_to(step + 1);
    }

    pub fn settle(&mut self) {
        let next = *self.input.time();
        self.input.flush();
        while self.probe.less_than(&next) {
            self.worker.step();
        }
    }

    pub fn step(&mut self, ledger_input: LedgerInput) -> (Option<LedgerStats>, Option<LedgerReport>) {
        self.hand_in(ledger_input);
        self.settle();
        (self.ledger_stats.borrow_mut().pop(), self.reports.borrow_mut().pop())
    }

    pub fn ledger_stats(&mut self) -> Vec<LedgerStats> {
        self.ledger_stats.borrow_mut().drain(..).collect()
    }

    /// Returns the number of updates in all traces.
    pub fn held(&mut self) -> i64 {
        self.worker.log_register().unwrap().flush();
        *self.held.borrow()
    }
}

/// Pseudo-random numbers.
pub struct Draws(pub u64);

impl Draws {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

pub fn row(id: u64, class: u32, draws: &mut Draws) -> Prediction {
    let confidence = draws.below(1001) as f32 / 1000.0;
    let (accepted, confident) = (confidence > 0.5, confidence > 0.7);
    Prediction {
        id: SampleId::of_key(id),
        class,
        confidence,
        pseudo_label: class,
        pseudo_label_confidence: confidence,
        accepted,
        confident,
        networks_agree: None,
        teacher_step: 0,
    }
}
