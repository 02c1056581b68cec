//! strong: makes the strong views of the samples that the filter selected.

use crate::engine::flow::{Failure, each_step};
use sluicebox_learn::messages::{Selected, TrainingBatch};
use sluicebox_learn::stages::views::StrongViews;
use timely::dataflow::StreamVec;

/// Returns each step with its strong views.
pub fn strong<'scope>(
    judged: StreamVec<'scope, u64, Selected>,
    mut views: StrongViews,
    failure: &Failure,
) -> StreamVec<'scope, u64, TrainingBatch> {
    each_step(judged, "strong", failure, move |judged| views.view(judged))
}
