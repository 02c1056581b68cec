//! Formats of numbers, by unit.

use sluicebox_core::report::{Meters, Unit, grouped};

/// Text for an unknown value.
pub const UNKNOWN: &str = "–";

/// Seconds in a day, an hour and a minute.
const LONGER: [(f64, &str); 3] = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min")];

/// Returns the value of the meter `name`, formatted.
pub fn value<M: Meters>(meters: &M, name: &str, fractions: bool) -> String {
    match M::meter(name) {
        Some(meter) => text(meters.value(name), meter.unit, fractions),
        None => UNKNOWN.into(),
    }
}

/// Formats a value in its unit; fractions as percentages unless `fractions`.
pub fn text(value: Option<f64>, unit: Unit, fractions: bool) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return UNKNOWN.into() };
    match unit {
        Unit::Share if fractions => format!("{value:.3}"),
        Unit::Share => format!("{:.1} %", 100.0 * value),
        Unit::PerSecond => format!("{}/s", short(value)),
        Unit::Count | Unit::Samples if value.fract() == 0.0 => grouped(value),
        Unit::Seconds => duration(value),
        Unit::Microseconds => format!("{} µs", short(value)),
        Unit::Mebibytes if value >= 1024.0 => format!("{:.1} GiB", value / 1024.0),
        Unit::Mebibytes if value < 10.0 => format!("{value:.2} MiB"),
        Unit::Mebibytes => format!("{value:.0} MiB"),
        Unit::Nats => format!("{value:.4} nats"),
        Unit::Flag => if value == 0.0 { "no" } else { "yes" }.into(),
        Unit::Count | Unit::Samples | Unit::Plain => short(value),
    }
}

/// Formats a fraction without a space, for narrow columns.
pub fn share(value: Option<f64>, fractions: bool) -> String {
    match value.filter(|value| value.is_finite()) {
        None => UNKNOWN.into(),
        Some(value) if fractions => format!("{value:.2}"),
        Some(value) if value < 0.0995 => format!("{:.1}%", 100.0 * value),
        Some(value) => format!("{:.0}%", 100.0 * value),
    }
}

/// Formats with three significant figures: `31.2k`, `0.0125`, `1.25M`.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let (scaled, suffix) = match size {
        _ if size >= 999.5e9 => return format!("{value:.2e}"),
        _ if size >= 999.5e6 => (value / 1e9, "G"),
        _ if size >= 999_500.0 => (value / 1e6, "M"),
        _ if size >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        0.0 => 0,
        size if size < 0.000_995 => return format!("{value:.1e}"),
        size => (2 - (size * 1.0005).log10().floor() as i32).clamp(0, 6) as usize,
    };
    let text = format!("{scaled:.digits$}");
    match suffix.is_empty() && text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text + suffix,
    }
}

/// Formats a duration, rounded to a readable unit.
pub fn duration(seconds: f64) -> String {
    for (length, name) in LONGER {
        if seconds >= 2.0 * length {
            return format!("{:.0} {name}", seconds / length);
        }
    }
    format!("{} s", short(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::JobMeters;

    #[test]
    fn numbers_as_people_read_them() {
        let short_ones =
            [0.0, 0.00012, 0.0125, 1.0, 3.25159, 812.4, 999.6, 31_204.0, 1.25e6, 2e9, 4e13, -31_204.0];
        let texts = [
            "0", "1.2e-4", "0.0125", "1", "3.25", "812", "1.00k", "31.2k", "1.25M", "2.00G", "4.00e13",
            "-31.2k",
        ];
        assert_eq!(short_ones.map(short), texts);
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.5, 90.0, 125.0, 7300.0, 200_000.0].map(duration),
            ["0.5 s", "90 s", "2 min", "2 h", "2 d"]
        );
    }

    #[test]
    fn units_come_from_the_table() {
        let mut job = JobMeters { accuracy: Some(0.975), steps: Some(12_800.0), ..Default::default() };
        assert_eq!(value(&job, "accuracy", false), "97.5 %");
        assert_eq!(value(&job, "accuracy", true), "0.975");
        assert_eq!(value(&job, "steps", false), "12,800");
        assert_eq!(value(&job, "drift", false), UNKNOWN);
        job.drift = Some(f64::NAN);
        assert_eq!(value(&job, "drift", false), UNKNOWN);
        assert_eq!(value(&job, "no such number", false), UNKNOWN);
    }
}
