//! strong: the strong views of what passed the filter.

use super::{Failure, each_step};
use crate::augmentation::views::StrongViews;
use crate::data::{Judged, Lesson};
use timely::dataflow::StreamVec;

/// Each step with its strong views.
pub fn strong<'scope>(
    judged: StreamVec<'scope, u64, Judged>,
    mut views: StrongViews,
    failure: &Failure,
) -> StreamVec<'scope, u64, Lesson> {
    each_step(judged, "strong", failure, move |judged| views.view(judged))
}
