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

use std::cell::RefCell;
use std::ops::{Bound, RangeBounds, RangeInclusive};

/// A range that a setting was checked against.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The setting.
    pub key: &'static str,
    /// The range.
    pub range: (Bound<f64>, Bound<f64>),
}

thread_local! {
    /// The checks on this thread, while somebody asks for them.
    static CHECKS: RefCell<Option<Vec<Checked>>> = const { RefCell::new(None) };
}

/// Returns the ranges against which `check` checks settings, so that a reference tells those that count.
///
/// ```
/// use sluicebox_core::config::range::{checked, within, words};
///
/// let checks = checked(|| within(&mut Vec::new(), "momentum", 0.9, 0.0..1.0));
/// assert_eq!((checks[0].key, words(&checks[0].range)), ("momentum", "from 0 to below 1".to_string()));
/// ```
pub fn checked(check: impl FnOnce()) -> Vec<Checked> {
    CHECKS.set(Some(Vec::new()));
    check();
    CHECKS.take().unwrap_or_default()
}

fn note(key: &'static str, range: (Bound<f64>, Bound<f64>)) {
    CHECKS.with_borrow_mut(|checks| {
        if let Some(checks) = checks {
            checks.push(Checked { key, range });
        }
    });
}

/// Adds a fault if `value` lies outside `range` or is not a finite number.
pub fn within(
    faults: &mut Vec<(&'static str, String)>,
    key: &'static str,
    value: f64,
    range: impl RangeBounds<f64>,
) {
    note(key, (range.start_bound().cloned(), range.end_bound().cloned()));
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
    note(key, (Bound::Included(least as f64), Bound::Unbounded));
    if value < least {
        faults.push((key, format!("{value} is too few: it must be {least} or more")));
    }
}
