//! Range checks of settings, and their error messages.
//!
//! ```
//! use sluicebox_core::config::range::within;
//!
//! let mut faults = Vec::new();
//! within(&mut faults, "momentum", 1.0, 0.0..1.0);
//! within(&mut faults, "threshold", 0.95, 0.0..=1.0);
//! assert_eq!(faults, [("momentum", "1 must be from 0 to below 1".to_string())]);
//! ```

use std::ops::{Bound, RangeBounds, RangeInclusive};

/// Adds a fault if `value` lies outside `range` or is not a finite number.
pub fn within(
    faults: &mut Vec<(&'static str, String)>,
    key: &'static str,
    value: f64,
    range: impl RangeBounds<f64>,
) {
    if !(value.is_finite() && range.contains(&value)) {
        faults.push((key, format!("{value} must be {}", words(&range))));
    }
}

/// Returns a range in words, such as "from 0 to below 1".
pub fn words(range: &impl RangeBounds<f64>) -> String {
    use Bound::{Excluded, Included, Unbounded};
    match (range.start_bound(), range.end_bound()) {
        (Included(low), Included(high)) => format!("from {low} to {high}"),
        (Included(low), Excluded(high)) => format!("from {low} to below {high}"),
        (Included(low), Unbounded) => format!("{low} or more"),
        (Excluded(low), Included(high)) => format!("above {low} and at most {high}"),
        (Excluded(low), Excluded(high)) => format!("above {low} and below {high}"),
        (Excluded(low), Unbounded) => format!("above {low}"),
        (Unbounded, Included(high)) => format!("at most {high}"),
        (Unbounded, Excluded(high)) => format!("below {high}"),
        (Unbounded, Unbounded) => "a number".into(),
    }
}

/// Returns the range above `low`, up to and including `high`.
pub fn above_to(low: f64, high: f64) -> impl RangeBounds<f64> {
    (Bound::Excluded(low), Bound::Included(high))
}

/// Returns the range above `low`, without an end.
pub fn above(low: f64) -> impl RangeBounds<f64> {
    (Bound::Excluded(low), Bound::Unbounded)
}

/// Returns a fault for each `(key, value, range)` whose value is out of its range.
pub fn outside(options: &[(&'static str, f64, RangeInclusive<f64>)]) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    for (key, value, range) in options {
        within(&mut faults, key, *value, range.clone());
    }
    faults
}

/// Adds a fault if `value` is below `least`.
pub fn at_least(faults: &mut Vec<(&'static str, String)>, key: &'static str, value: usize, least: usize) {
    if value < least {
        faults.push((key, format!("{value} is too few: it must be {least} or more")));
    }
}
