//! How verdicts write numbers.

use sluicebox_core::interval::wilson;
use sluicebox_core::report::grouped;

/// Writes a fraction as per cent. It is 100.0 % or 0.0 % only where it is exactly that.
pub fn percent(fraction: f64) -> String {
    let tenths = (1000.0 * fraction).round();
    let tenths = match fraction {
        whole if whole >= 1.0 => 1000.0,
        none if none <= 0.0 => 0.0,
        _ => tenths.clamp(1.0, 999.0),
    };
    format!("{:.1} %", tenths / 10.0)
}

/// Writes a fraction as whole per cent.
pub fn about(fraction: f64) -> String {
    format!("{:.0} %", 100.0 * fraction)
}

/// Writes a rate in three figures or more.
pub fn rate(value: f64) -> String {
    match value {
        small if small < 9.995 => format!("{value:.2}"),
        small if small < 99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// Writes the 95 % interval of a fraction of `whole` samples.
pub fn interval(fraction: f64, whole: u64) -> Option<String> {
    let (low, high) = wilson((fraction * whole as f64).round() as u64, whole)?;
    Some(format!("{} to {}", percent(low), percent(high)))
}

/// Returns `text` cut after the last word that fits into `room` characters, with a sign that there was more.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.into();
    }
    let start: String = text.chars().take(room.saturating_sub(1)).collect();
    let whole = start.rsplit_once(' ').map_or(start.as_str(), |(whole, _)| whole);
    format!("{}…", whole.trim_end_matches([',', ';', ':', ' ', '(']))
}

/// Writes an age.
pub fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Writes a number of things.
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_ends_at_a_word() {
        assert_eq!(cut("as in the 10 epochs before", 40), "as in the 10 epochs before");
        assert_eq!(cut("as in the 10 epochs before", 12), "as in the…");
        assert_eq!(cut("abcdef", 3), "ab…");
        assert_eq!(cut("abcdef", 0), "…");
    }

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(
            [0.0, 0.0001, 0.8314, 0.9996, 1.0].map(percent),
            ["0.0 %", "0.1 %", "83.1 %", "99.9 %", "100.0 %"]
        );
        assert_eq!([0.5, 12.34, 22_044.4].map(rate), ["0.50", "12.3", "22,044"]);
        assert_eq!(
            [41_000, 600_000, 7_200_000, 200_000_000].map(age),
            ["41 s ago", "10 min ago", "2 h ago", "2 days ago"]
        );
        assert_eq!((count(1, "alarm"), count(1200, "alarm")), ("1 alarm".into(), "1,200 alarms".into()));
        assert_eq!(interval(0.5, 100).as_deref(), Some("40.4 % to 59.6 %"));
        assert_eq!(interval(0.5, 0), None);
    }
}
