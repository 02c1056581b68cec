//! ledger: pseudo-labels and labels of samples as differential collections over steps. Both are keyed by
//! sample, joined where a sample has both, and counted incrementally by retraction, never recounted. `window`
//! decides how long they are kept; the output is plain data.

mod close;
mod retain;
mod rows;
mod totals;
mod window;

use crate::engine::flow::failure::Failure;
use close::close;
use differential_dataflow::collection::concatenate;
use differential_dataflow::operators::arrange::Arranged;
use differential_dataflow::operators::arrange::upsert::arrange_from_upsert;
use differential_dataflow::trace::implementations::ValBuilder;
use retain::retain;
use rows::{LabelRow, PseudoLabelRow, State, Tally};
use sluicebox_core::error::Result;
use sluicebox_core::report::ledger::{LedgerReport, LedgerStats};
use sluicebox_core::state::{Section, Sections, decode};
use sluicebox_core::step::LedgerInput;
use std::time::Duration;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::operator::empty;
use totals::{LedgerTotals, Trace};
use window::LedgerWindow;

/// Settings of the ledger and the state it starts from.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Samples whose pseudo-label is kept; also how many samples long a label awaits its sample.
    pub retain: u64,
    /// Time limit on both.
    pub retain_for: Option<Duration>,
    /// Number of classes of the job.
    pub classes: usize,
    /// Steps between ledger statistics and their use by the filter.
    pub lag: u64,
    state: State,
}

impl Ledger {
    /// Returns an empty ledger.
    pub fn new(retain: u64, retain_for: Option<Duration>, classes: usize, lag: u64) -> Self {
        Self { retain, retain_for, classes, lag, state: State::default() }
    }

    /// Restores a saved state, which `LedgerTotals` wrote. A job that took no labels until now starts with an
    /// empty ledger.
    pub fn load_from(&mut self, sections: &Sections) -> Result<()> {
        if let Some(state) = sections.get(Section::Ledger) {
            self.state = decode("the ledger", state)?;
        }
        Ok(())
    }

    /// Returns the statistics on the feedback edge, each with the step at which the filter receives it.
    pub fn in_flight(&self) -> Vec<(u64, LedgerStats)> {
        let arrival = |ledger_stats: &LedgerStats| (ledger_stats.step + self.lag, ledger_stats.clone());
        self.state.ledger_stats.iter().map(arrival).collect()
    }
}

/// Returns the ledger statistics after each step, and the ledger's report where one is due. Without a ledger,
/// both streams are empty and closed.
pub fn ledger<'scope>(
    ledger_input: StreamVec<'scope, u64, LedgerInput>,
    ledger: Option<Ledger>,
    failure: &Failure,
) -> (StreamVec<'scope, u64, LedgerStats>, StreamVec<'scope, u64, LedgerReport>) {
    let scope = ledger_input.scope();
    let Some(ledger) = ledger else { return (empty(scope), empty(scope)) };
    let Ledger { retain: samples, retain_for, classes, lag, state } = ledger;
    let retain_ms = retain_for.map(|time| time.as_millis() as u64);
    let window = LedgerWindow::new(samples, retain_ms, state.counts);
    let totals = LedgerTotals::new(classes, lag, &state);

    let saved = (state.pseudo_labels, state.labels);
    let (pseudo_labels, labels, step_ends) = retain(ledger_input, window, saved, failure);
    let pseudo_labels: Arranged<'_, Trace<PseudoLabelRow>> =
        arrange_from_upsert::<ValBuilder<_, _, _, _>, _, _, _>(pseudo_labels, "pseudo-labels");
    let labels: Arranged<'_, Trace<LabelRow>> =
        arrange_from_upsert::<ValBuilder<_, _, _, _>, _, _, _>(labels, "labels");
    let traces = (pseudo_labels.trace.clone(), labels.trace.clone());

    let with_pseudo_label = pseudo_labels.clone().as_collection(|_, row| Tally::PseudoLabel {
        class: row.class,
        accepted: row.accepted,
        confident: row.confident,
    });
    let with_label = labels.clone().as_collection(|_, row| Tally::Label { class: row.class });
    let with_both = pseudo_labels.join_core(labels, |id, pseudo_label, label| {
        Some(Tally::Both { id: *id, pseudo_label: pseudo_label.clone(), label: label.clone() })
    });
    let tallies = concatenate(scope, [with_pseudo_label, with_label, with_both]);
    close(tallies.inner, step_ends, totals, traces, failure)
}
