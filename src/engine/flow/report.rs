//! report: folds step results into the epoch's report. Two outputs: the step results, and for the ledger the
//! facts of each step, emitted after their readback from the device.

use crate::engine::flow::Failure;
use crate::engine::metrics::Reporter;
use sluicebox_core::step::LedgerInput;
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

/// Returns each step result after the reporter has seen it, and, if `for_ledger`, the facts.
pub fn report<'scope>(
    outcomes: StreamVec<'scope, u64, StepResult>,
    reporter: Rc<RefCell<Reporter>>,
    for_ledger: bool,
    failure: &Failure,
) -> (StreamVec<'scope, u64, StepResult>, StreamVec<'scope, u64, LedgerInput>) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("report".to_string(), outcomes.scope());
    let mut outcomes = builder.new_input(outcomes, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, reported) = builder.new_output::<Vec<StepResult>>();
    let (facts_output, facts) = builder.new_output::<Vec<LedgerInput>>();
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<StepResult>>>::from(output);
    let mut facts_output =
        OutputBuilder::<u64, CapacityContainerBuilder<Vec<LedgerInput>>>::from(facts_output);
    let mut unfetched: BTreeMap<u64, Capability<u64>> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let mut output = output.activate();
            let mut facts_output = facts_output.activate();
            outcomes.for_each_stamp(|capability, containers| {
                for outcome in containers.flat_map(|container| container.drain(..)) {
                    let step = outcome.info.step;
                    if for_ledger && let Some(capability) = capability.retain_least(1) {
                        unfetched.insert(step, capability);
                    }
                    let absorbed = failure.guard("report", step, || reporter.borrow_mut().absorb(outcome));
                    let Some((outcome, fetched)) = absorbed else { return };
                    output.session(&capability).give(outcome);
                    for facts in fetched {
                        let Some(capability) = unfetched.remove(&facts.step) else { continue };
                        facts_output.session(&capability).give(facts);
                    }
                }
            });
        }
    });
    (reported, facts)
}
