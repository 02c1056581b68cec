//! commit: makes a snapshot durable once its step is done everywhere. A step without one is
//! done when it gets here; one with a snapshot is done when that is on the disk.

use super::Failure;
use crate::checkpoint::Store;
use crate::data::{Outcome, Snapshot};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;

/// Nothing but the frontier: the first step that is not done.
pub fn commit<'scope>(
    outcomes: StreamVec<'scope, u64, Outcome>,
    store: Rc<RefCell<Store>>,
    failure: &Failure,
) -> StreamVec<'scope, u64, ()> {
    let failure = failure.clone();
    let mut waiting: BTreeMap<u64, (Capability<u64>, Box<Snapshot>)> = BTreeMap::new();
    outcomes.unary_frontier::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
        Pipeline,
        "commit",
        move |_capability, _info| {
            move |(outcomes, frontier), _output| {
                outcomes.for_each_stamp(|capability, containers| {
                    for outcome in containers.flat_map(|container| container.drain(..)) {
                        let Some(snapshot) = outcome.ticket.snapshot else { continue };
                        let Some(capability) = capability.retain_least(0) else { continue };
                        waiting.insert(*capability.time(), (capability, snapshot));
                    }
                });
                while let Some(entry) = waiting.first_entry() {
                    let step = *entry.key();
                    if frontier.frontier().less_equal(&step) {
                        break;
                    }
                    let (_capability, snapshot) = entry.remove();
                    failure.guard("commit", step, || store.borrow_mut().commit(*snapshot));
                }
            }
        },
    )
}
