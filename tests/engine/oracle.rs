//! The dataflow against a plain loop without timely: at lag 1 the weights are equal, bit for bit.

use crate::support::{plain_loop, prepared, small_job, weights_of};
use sluicebox::engine::flow;

#[test]
fn the_dataflow_is_the_sequential_algorithm_at_lag_1() {
    for more in
        [&[][..], &["filter.mode=mask"], &["method.kind=supervised"], &["teacher.ema=0", "flow.window=1"]]
    {
        let job = small_job(more);
        let looped = prepared(&job);
        let (reporter, store) = (looped.reporter.clone(), looped.store.clone());
        plain_loop(looped.stages).unwrap();
        let flowed = prepared(&job);
        let (flow_reporter, flow_store) = (flowed.reporter.clone(), flowed.store.clone());
        flow::run(flowed.stages).unwrap();
        assert_eq!(flow_store.borrow().weights_sha256(), store.borrow().weights_sha256(), "{more:?}");
        assert_eq!(flow_reporter.borrow().total(), reporter.borrow().total(), "{more:?}");
        assert_eq!(reporter.borrow().total().steps, 24);
    }
}

#[test]
fn every_lag_is_repeatable_and_they_differ() {
    let of_lag = |lag: u64| weights_of(&small_job(&[&format!("teacher.lag={lag}"), "method.threshold=0.5"]));
    let first: Vec<String> = [1, 2, 4].map(of_lag).into();
    let second: Vec<String> = [1, 2, 4].map(of_lag).into();
    assert_eq!(first, second);
    assert_ne!(first[0], first[1]);
    assert_ne!(first[1], first[2]);
}

#[test]
fn the_window_changes_nothing_but_time() {
    let of_window = |window: u64| weights_of(&small_job(&[&format!("flow.window={window}")]));
    assert_eq!(of_window(1), of_window(16));
}

#[test]
fn the_seed_changes_everything() {
    assert_ne!(weights_of(&small_job(&["seed=1"])), weights_of(&small_job(&["seed=2"])));
}
