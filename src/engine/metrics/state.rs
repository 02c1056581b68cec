//! The counts and sums of the job so far: what the summary reads and a snapshot saves.

use crate::engine::drift::Detector;
use crate::engine::metrics::best::Best;
use crate::engine::metrics::class_alarm::ClassAlarm;
use crate::engine::metrics::counts::Counts;
use crate::engine::metrics::filter_alarm::FilterAlarm;
use crate::engine::metrics::future::NearFuture;
use crate::engine::metrics::network::NetworkAlone;
use crate::engine::metrics::phases::ByPhase;
use crate::engine::metrics::recent::Recent;
use crate::engine::metrics::recovery::Recovery;
use crate::engine::metrics::skipped::Skipped;
use serde::{Deserialize, Serialize};
use sluicebox_core::error::Result;
use sluicebox_core::state::{Section, Sections, decode, encode};
use std::collections::BTreeMap;

/// The reporter's sections of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Counts of the whole job, without the current epoch.
    pub job: Counts,
    /// Counts of the current epoch.
    pub epoch: Counts,
    /// Accuracy over the newest samples.
    pub recent: Recent,
    /// Drift detector.
    pub drift: Detector,
    /// Future steps at whose start replay weights decay.
    pub decay_replay_at: Vec<u64>,
    /// Accuracy on earlier phases.
    pub by_phase: ByPhase,
    /// Near-future accuracy.
    pub future: NearFuture,
    /// Recovery after the newest change of the stream.
    pub recovery: Recovery,
    /// Phase changes up to the newest sample.
    pub visit: u64,
    /// Samples of the stream whose results were read back.
    pub streamed: u64,
    /// Epochs reported.
    pub epochs: u64,
    /// Accuracy of the answer at the last evaluation.
    pub accuracy: Option<f64>,
    /// Labelled samples in the replay buffer.
    pub labels_known: u64,
    /// State of each sink, by its name.
    pub sinks: BTreeMap<String, Vec<u8>>,
    /// The network alone: saved in a section of its own, which checkpoints of an earlier Sluicebox lack.
    #[serde(skip)]
    pub network: NetworkAlone,
    /// Best evaluation so far; in a section of its own.
    #[serde(skip)]
    pub best: Option<Best>,
    /// Skipped updates; in a section of their own, together with the alarms.
    #[serde(skip)]
    pub skipped: Skipped,
    /// Alarms of the filter.
    #[serde(skip)]
    pub filter_alarm: FilterAlarm,
    /// Alarms of classes; in a section of their own.
    #[serde(skip)]
    pub class_alarm: ClassAlarm,
    /// Samples that were not learned from, as a value is too large.
    #[serde(skip)]
    pub unfit: u64,
}

impl State {
    /// Saves the state in its sections.
    pub fn save_into(&self, sections: &mut Sections) -> Result<()> {
        sections.put(Section::Report, encode("the report", self)?);
        sections.put(Section::Phases, encode("the phases", &self.by_phase.rows)?);
        sections.put(Section::Network, encode("the network", &self.network)?);
        if let Some(best) = &self.best {
            sections.put(Section::Best, encode("the best evaluation", best)?);
        }
        sections.put(Section::Alarms, encode("the alarms", &(self.skipped, self.filter_alarm, self.unfit))?);
        if !self.class_alarm.is_empty() {
            sections.put(Section::Classes, encode("the alarms of classes", &self.class_alarm)?);
        }
        Ok(())
    }

    /// Returns the saved state of a job that resumes.
    pub fn load_from(sections: &Sections) -> Result<Self> {
        let mut state: Self = decode("the report", sections.require(Section::Report)?)?;
        if let Some(rows) = sections.get(Section::Phases) {
            state.by_phase.rows = decode("the phases", rows)?;
        }
        if let Some(network) = sections.get(Section::Network) {
            state.network = decode("the network", network)?;
        }
        let best = sections.get(Section::Best);
        state.best = best.map(|best| decode("the best evaluation", best)).transpose()?;
        if let Some(alarms) = sections.get(Section::Alarms) {
            (state.skipped, state.filter_alarm, state.unfit) = decode("the alarms", alarms)?;
        }
        if let Some(classes) = sections.get(Section::Classes) {
            state.class_alarm = decode("the alarms of classes", classes)?;
        }
        Ok(state)
    }
}
