//! weak: makes the weak views of a batch.

use crate::engine::flow::{Failure, each_step};
use sluicebox_learn::messages::{Batch, Views};
use sluicebox_learn::stages::views::WeakViews;
use timely::dataflow::StreamVec;

/// Returns each batch with its weak views.
pub fn weak<'scope>(
    batches: StreamVec<'scope, u64, Batch>,
    mut views: WeakViews,
    failure: &Failure,
) -> StreamVec<'scope, u64, Views> {
    each_step(batches, "weak", failure, move |batch| views.view(batch))
}
