//! Range checks of a method's options, and their error messages.

use std::ops::RangeInclusive;

/// Returns a fault for each `(key, value, range)` whose value is out of its range.
pub fn outside(options: &[(&'static str, f64, RangeInclusive<f64>)]) -> Vec<(&'static str, String)> {
    let faults = options.iter().filter(|(_, value, range)| !range.contains(value));
    faults
        .map(|(key, value, range)| {
            (*key, format!("{value} must be from {} to {}", range.start(), range.end()))
        })
        .collect()
}

/// Adds a fault if `value` is below `least`.
pub fn at_least(faults: &mut Vec<(&'static str, String)>, key: &'static str, value: usize, least: usize) {
    if value < least {
        faults.push((key, format!("{value} is too few: it must be {least} or more")));
    }
}
