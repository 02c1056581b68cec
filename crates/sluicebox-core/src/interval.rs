//! How sure a measured fraction is.

/// Returns the 95 % interval of the fraction `part` / `whole` (Wilson 1927, "Probable inference, the law of
/// succession, and statistical inference"); none of nothing.
///
/// ```
/// use sluicebox_core::interval::wilson;
///
/// let (low, high) = wilson(5, 10).unwrap();
/// assert!(low < 0.24 && high > 0.76);
/// assert_eq!(wilson(0, 0), None);
/// ```
pub fn wilson(part: u64, whole: u64) -> Option<(f64, f64)> {
    if whole == 0 {
        return None;
    }
    let (n, z) = (whole as f64, 1.959_963_984_540_054_f64);
    let share = part as f64 / n;
    let middle = share + z * z / (2.0 * n);
    let width = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // Of none and of all an end is 0 or 1 exactly, which rounding may miss.
    let low = if part == 0 { 0.0 } else { (middle - width) / scale };
    let high = if part == whole { 1.0 } else { (middle + width) / scale };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_by_hand() {
        // 9 of 10: (0.9 + 0.19207 ± 1.95996 · √(0.009 + 0.0096037)) / 1.38415
        let (low, high) = wilson(9, 10).unwrap();
        assert!((low - 0.59585).abs() < 1e-4 && (high - 0.98212).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn the_fraction_is_in_its_interval() {
        for whole in 1..3000 {
            assert_eq!(wilson(0, whole).unwrap().0, 0.0);
            assert_eq!(wilson(whole, whole).unwrap().1, 1.0);
            for part in [0, 1, whole / 2, whole - 1, whole] {
                let (low, high) = wilson(part, whole).unwrap();
                let fraction = part as f64 / whole as f64;
                assert!(
                    0.0 <= low && low <= fraction && fraction <= high && high <= 1.0,
                    "{part} of {whole}"
                );
            }
        }
    }
}
