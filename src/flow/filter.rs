//! filter: the method judges; only what it accepts goes on.

use super::{Failure, each_step};
use crate::data::{Judged, Scored};
use crate::method::filter::Filter;
use timely::dataflow::StreamVec;

/// Each step with its judgement and what passed.
pub fn filter<'scope>(
    scored: StreamVec<'scope, u64, Scored>,
    mut filter: Filter,
    failure: &Failure,
) -> StreamVec<'scope, u64, Judged> {
    each_step(scored, "filter", failure, move |scored| filter.judge(scored))
}
