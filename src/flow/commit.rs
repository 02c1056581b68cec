//! commit: makes a snapshot durable once its step is done everywhere. A step without one is
//! done when it gets here; one with a snapshot is done when that is on the disk.

use super::Failure;
use crate::checkpoint::Store;
use crate::data::{Outcome, Snapshot};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// Nothing but the frontier: the first step that is not done.
pub fn commit<'scope>(
    outcomes: StreamVec<'scope, u64, Outcome>,
    store: Rc<RefCell<Store>>,
    failure: &Failure,
) -> StreamVec<'scope, u64, ()> {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("commit".to_string(), outcomes.scope());
    let mut outcomes = builder.new_input(outcomes, Pipeline);
    // Without a snapshot in hand there is nothing to wait for.
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let (_output, done) = builder.new_output::<Vec<()>>();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Box<Snapshot>)> = BTreeMap::new();
    builder.build(move |_capabilities| {
        move |frontiers| {
            outcomes.for_each_stamp(|capability, containers| {
                for outcome in containers.flat_map(|container| container.drain(..)) {
                    let Some(snapshot) = outcome.ticket.snapshot else { continue };
                    let Some(capability) = capability.retain_least(0) else { continue };
                    waiting.insert(*capability.time(), (capability, snapshot));
                }
            });
            while let Some(entry) = waiting.first_entry() {
                let step = *entry.key();
                if frontiers[0].frontier().less_equal(&step) {
                    break;
                }
                let (_capability, snapshot) = entry.remove();
                failure.guard("commit", step, || store.borrow_mut().commit(*snapshot));
            }
        }
    });
    done
}
