//! tell: where an epoch ends or a checkpoint is due, the ledger's part is waited for; then the
//! epoch's report is told, and the snapshot is whole.

use super::Failure;
use crate::data::Outcome;
use crate::ledger::Account;
use crate::metrics::Reporter;
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

/// Each outcome, once there is nothing more to tell of it.
pub fn tell<'scope>(
    outcomes: StreamVec<'scope, u64, Outcome>,
    accounts: StreamVec<'scope, u64, Account>,
    reporter: Rc<RefCell<Reporter>>,
    failure: &Failure,
) -> StreamVec<'scope, u64, Outcome> {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("tell".to_string(), outcomes.scope());
    let mut outcomes = builder.new_input(outcomes, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let mut accounts = builder.new_input(accounts, Pipeline);
    builder.set_notify_for(1, FrontierInterest::IfCapability);
    let (output, told) = builder.new_output::<Vec<Outcome>>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<Outcome>>>::from(output);
    let mut waiting: BTreeMap<u64, (Capability<u64>, Outcome)> = BTreeMap::new();
    let mut due: BTreeMap<u64, Account> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            let mut output = output.activate();
            outcomes.for_each_stamp(|capability, containers| {
                for outcome in containers.flat_map(|container| container.drain(..)) {
                    if outcome.report.is_none() && outcome.ticket.snapshot.is_none() {
                        output.session(&capability).give(outcome);
                    } else if let Some(capability) = capability.retain_least(0) {
                        waiting.insert(outcome.ticket.step, (capability, outcome));
                    }
                }
            });
            accounts.for_each_stamp(|capability, containers| {
                let Some(step) = capability.least().copied() else { return };
                due.extend(
                    containers.flat_map(|container| container.drain(..)).map(|account| (step, account)),
                );
            });
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers[1].frontier().less_equal(&step) {
                    break; // the ledger is not there yet
                }
                let (capability, outcome) = entry.remove();
                let account = due.remove(&step);
                let told = failure.guard("report", step, || reporter.borrow_mut().tell(outcome, account));
                output.session(&capability).give_iterator(told.into_iter());
            }
        }
    });
    told
}
