//! retain: turns the ledger's input into updates of pseudo-labels and labels, keyed by sample and step, and
//! retracts those that leave the retention window.

use crate::engine::flow::failure::Failure;
use crate::engine::flow::ledger::rows::{LabelRow, PseudoLabelRow, StepEnd};
use crate::engine::flow::ledger::window::{Changes, LedgerWindow};
use crate::engine::flow::operator::Builder;
use sluicebox_core::step::LedgerInput;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

/// A change of a collection: key, new value (`None` retracts), step.
type Upsert<V> = (u64, Option<V>, u64);

/// Returns the updates of pseudo-labels and of labels, and the end of each step. Emits `saved` first.
#[allow(clippy::type_complexity)] // three streams
pub fn retain<'scope>(
    ledger_input: StreamVec<'scope, u64, LedgerInput>,
    mut window: LedgerWindow,
    saved: (Vec<(u64, PseudoLabelRow)>, Vec<(u64, LabelRow)>),
    failure: &Failure,
) -> (
    StreamVec<'scope, u64, Upsert<PseudoLabelRow>>,
    StreamVec<'scope, u64, Upsert<LabelRow>>,
    StreamVec<'scope, u64, StepEnd>,
) {
    let failure = failure.clone();
    let mut builder = OperatorBuilder::new("retain".to_string(), ledger_input.scope());
    let mut ledger_input = builder.new_input(ledger_input, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (pseudo_label_output, pseudo_labels) = builder.new_output::<Vec<Upsert<PseudoLabelRow>>>();
    let (label_output, labels) = builder.new_output::<Vec<Upsert<LabelRow>>>();
    let (end_output, step_ends) = builder.new_output::<Vec<StepEnd>>();
    let mut pseudo_label_output =
        OutputBuilder::<u64, Builder<Upsert<PseudoLabelRow>>>::from(pseudo_label_output);
    let mut label_output = OutputBuilder::<u64, Builder<Upsert<LabelRow>>>::from(label_output);
    let mut end_output = OutputBuilder::<u64, Builder<StepEnd>>::from(end_output);
    window.restore(&saved.0, &saved.1);
    let mut saved = Some(saved);
    builder.build(move |capabilities| {
        let mut capabilities = Some(capabilities);
        move |_frontiers| {
            let mut pseudo_label_output = pseudo_label_output.activate();
            let mut label_output = label_output.activate();
            let mut end_output = end_output.activate();
            if let (Some((pseudo_labels, labels)), Some(first)) = (saved.take(), capabilities.take()) {
                let put = |(id, row)| (id, Some(row), 0);
                pseudo_label_output.session(&first[0]).give_iterator(pseudo_labels.into_iter().map(put));
                let put = |(id, row)| (id, Some(row), 0);
                label_output.session(&first[1]).give_iterator(labels.into_iter().map(put));
            }
            ledger_input.for_each_stamp(|capability, containers| {
                for input in containers.flat_map(|container| container.drain(..)) {
                    let LedgerInput { step, barrier, ends_epoch, snapshot, .. } = input;
                    if !barrier {
                        let changes = failure.guard("ledger", step, || Ok(window.advance(&input)));
                        let Some(Changes { pseudo_labels, labels }) = changes else { return };
                        let put = |(id, row)| (id, row, step);
                        pseudo_label_output
                            .session(&capability)
                            .give_iterator(pseudo_labels.into_iter().map(put));
                        let put = |(id, row)| (id, row, step);
                        label_output.session(&capability).give_iterator(labels.into_iter().map(put));
                    }
                    let counts = window.counts();
                    let end = StepEnd { step, barrier, ends_epoch, snapshot, counts };
                    end_output.session(&capability).give(end);
                }
            });
        }
    });
    (pseudo_labels, labels, step_ends)
}
