//! commit: ends a step. A step that ends an epoch or takes a checkpoint is done once no more of its data can
//! arrive (also from the ledger), its report is published and its snapshot is on disk. Any other step is done
//! on arrival.

use crate::engine::checkpoint::Store;
use crate::engine::flow::failure::Failure;
use crate::engine::flow::operator::Builder;
use crate::engine::metrics::{Reported, Reporter};
use sluicebox_core::report::ledger::LedgerReport;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Returns a stream whose frontier is the first step that is not done, and whose records are the steps at
/// whose start replay weights decay.
pub fn commit<'scope>(
    reported: StreamVec<'scope, u64, Reported>,
    ledger_reports: StreamVec<'scope, u64, LedgerReport>,
    reporter: Rc<RefCell<Reporter>>,
    store: Rc<RefCell<Store>>,
    failure: &Failure,
) -> StreamVec<'scope, u64, u64> {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("commit".to_string(), reported.scope());
    let mut reported = builder.new_input(reported, Pipeline);
    // Without a held capability there is no step to wait for.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let mut ledger_reports = builder.new_input(ledger_reports, Pipeline);
    builder.set_notify_for(1, FrontierInterest::IfCapability);
    let (output, done) = builder.new_output::<Vec<u64>>();
    let mut output = OutputBuilder::<u64, Builder<u64>>::from(output);
    let mut waiting: BTreeMap<u64, (Capability<u64>, Reported)> = BTreeMap::new();
    let mut arrived: BTreeMap<u64, LedgerReport> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            let mut output = output.activate();
            reported.for_each_stamp(|capability, containers| {
                for mut reported in containers.flat_map(|container| container.drain(..)) {
                    output.session(&capability).give_iterator(reported.decay_replay_at.drain(..));
                    let wanted = reported.report.is_some() || reported.info.snapshot.is_some();
                    if let (true, Some(capability)) = (wanted, capability.retain_least(0)) {
                        waiting.insert(reported.info.step, (capability, reported));
                    }
                }
            });
            ledger_reports.for_each_stamp(|capability, containers| {
                let Some(step) = capability.least().copied() else { return };
                let reports = containers.flat_map(|container| container.drain(..));
                arrived.extend(reports.map(|report| (step, report)));
            });
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers.iter().any(|frontier| frontier.frontier().less_equal(&step)) {
                    break;
                }
                let (_capability, reported) = entry.remove();
                let ledger_report = arrived.remove(&step);
                let publish = || Ok(reporter.borrow_mut().publish(reported, ledger_report));
                if let Some(snapshot) = failure.guard("report", step, publish).flatten() {
                    let written = failure.guard("commit", step, || store.borrow_mut().commit(*snapshot));
                    let failures = store.borrow().failures();
                    reporter.borrow_mut().committed(written.flatten(), failures);
                }
            }
        }
    });
    done
}
