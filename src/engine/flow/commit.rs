//! commit: ends a step. A step that ends an epoch or takes a checkpoint is done once no more of its data can
//! arrive (also from the ledger), its report is sent and its snapshot is on disk. Any other step is done on
//! arrival.

use crate::engine::checkpoint::Store;
use crate::engine::flow::Failure;
use crate::engine::metrics::Reporter;
use sluicebox_core::report::ledger::LedgerReport;
use sluicebox_learn::messages::StepResult;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Returns a stream whose frontier is the first step that is not done, and whose data are the steps at whose
/// start replay weights decay.
pub fn commit<'scope>(
    outcomes: StreamVec<'scope, u64, StepResult>,
    accounts: StreamVec<'scope, u64, LedgerReport>,
    reporter: Rc<RefCell<Reporter>>,
    store: Rc<RefCell<Store>>,
    failure: &Failure,
) -> StreamVec<'scope, u64, u64> {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("commit".to_string(), outcomes.scope());
    let mut outcomes = builder.new_input(outcomes, Pipeline);
    // Without a held capability there is no step to wait for.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let mut accounts = builder.new_input(accounts, Pipeline);
    builder.set_notify_for(1, FrontierInterest::IfCapability);
    let (output, done) = builder.new_output::<Vec<u64>>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<u64>>>::from(output);
    let mut waiting: BTreeMap<u64, (Capability<u64>, StepResult)> = BTreeMap::new();
    let mut due: BTreeMap<u64, LedgerReport> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            let mut output = output.activate();
            outcomes.for_each_stamp(|capability, containers| {
                for mut outcome in containers.flat_map(|container| container.drain(..)) {
                    output.session(&capability).give_iterator(outcome.reweights.drain(..));
                    let wanted = outcome.report.is_some() || outcome.info.snapshot.is_some();
                    if let (true, Some(capability)) = (wanted, capability.retain_least(0)) {
                        waiting.insert(outcome.info.step, (capability, outcome));
                    }
                }
            });
            accounts.for_each_stamp(|capability, containers| {
                let Some(step) = capability.least().copied() else { return };
                let accounts = containers.flat_map(|container| container.drain(..));
                due.extend(accounts.map(|account| (step, account)));
            });
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers.iter().any(|frontier| frontier.frontier().less_equal(&step)) {
                    break;
                }
                let (_capability, outcome) = entry.remove();
                let account = due.remove(&step);
                let told = failure.guard("report", step, || reporter.borrow_mut().tell(outcome, account));
                if let Some(snapshot) = told.and_then(|outcome| outcome.info.snapshot) {
                    let written = failure.guard("commit", step, || store.borrow_mut().commit(*snapshot));
                    written.flatten().into_iter().for_each(|took| reporter.borrow_mut().committed(took));
                }
            }
        }
    });
    done
}
