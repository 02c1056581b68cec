//! Formats of numbers, units and times.

use sluicebox_core::report::{Unit, grouped};

/// Returns the name of a unit.
pub(super) fn of(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "counts",
        Unit::PerSecond => "per second",
        Unit::Share => "%",
        Unit::Seconds => "seconds",
        Unit::Microseconds => "µs",
        Unit::Mebibytes => "MiB",
        Unit::Nats => "nats",
        Unit::Samples => "samples",
        Unit::Flag => "yes or no",
        Unit::Plain => "no unit",
    }
}

/// Returns the unit to write beside an axis; empty for fractions (each tick has a %), counts and
/// plain numbers.
pub(super) fn axis(unit: Unit) -> &'static str {
    match unit {
        Unit::Share | Unit::Plain | Unit::Count | Unit::Flag => "",
        _ => of(unit),
    }
}

/// Formats a tick of an axis, briefly.
pub(super) fn tick(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => format!("{}%", trimmed(100.0 * value, 2)),
        _ => short(value),
    }
}

/// Formats a number with its unit, in full.
pub(super) fn text(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => format!("{:.1}%", 100.0 * value),
        Unit::PerSecond => format!("{}/s", plain(value)),
        Unit::Seconds => format!("{} s", plain(value)),
        Unit::Microseconds => format!("{} µs", plain(value)),
        Unit::Mebibytes => format!("{} MiB", plain(value)),
        Unit::Nats => format!("{} nats", plain(value)),
        Unit::Flag => if value == 0.0 { "no" } else { "yes" }.into(),
        Unit::Count | Unit::Samples | Unit::Plain => plain(value),
    }
}

/// Formats an epoch on an axis; empty between two epochs.
pub(super) fn epoch(value: f64) -> String {
    if (value - value.round()).abs() > 1e-6 || value < 0.0 { String::new() } else { short(value) }
}

/// Formats a time given in ms since 1970.
pub(super) fn time(ms: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms));
    let text = time.filter(|_| ms < 253_402_300_800_000);
    let text = text.map(|time| humantime_serde::re::humantime::format_rfc3339_seconds(time).to_string());
    text.unwrap_or_default().replace('T', " ").replace('Z', " UTC")
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 1e9 => format!("{}G", trimmed(value / 1e9, 2)),
        size if size >= 1e6 => format!("{}M", trimmed(value / 1e6, 2)),
        size if size >= 1e4 => format!("{}k", trimmed(value / 1e3, 2)),
        size if size >= 1e-3 => trimmed(value, 4),
        _ => format!("{value:.1e}"),
    }
}

/// Formats with thousands separators; small numbers keep three digits.
fn plain(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 1e-3 => format!("{value:.2e}"),
        size if size < 1.0 => trimmed(value, 4),
        size if size < 100.0 => trimmed(value, 2),
        size if size >= 1e15 => format!("{value:.3e}"),
        _ => grouped(value.round()),
    }
}

/// Formats with at most `decimals` decimals, without trailing zeros.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_on_axes_and_whole_in_text() {
        let tick = |unit, value| tick(unit, value);
        assert_eq!(tick(Unit::Share, 0.955), "95.5%");
        assert_eq!(tick(Unit::Share, 1.0), "100%");
        assert_eq!(tick(Unit::PerSecond, 30_000.0), "30k");
        assert_eq!(tick(Unit::PerSecond, 1_250_000.0), "1.25M");
        assert_eq!(tick(Unit::Plain, 0.0004), "4.0e-4");
        assert_eq!(tick(Unit::Plain, -0.5), "-0.5");
        assert_eq!(text(Unit::PerSecond, 28_348.4), "28,348/s");
        assert_eq!(text(Unit::Samples, 1_000_000.0), "1,000,000");
        assert_eq!(text(Unit::Seconds, 1.5), "1.5 s");
        assert_eq!(text(Unit::Share, 0.97733), "97.7%");
        assert_eq!([epoch(3.0), epoch(3.5)], ["3".to_string(), String::new()]);
        assert_eq!(time(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(time(u64::MAX), "");
    }
}
