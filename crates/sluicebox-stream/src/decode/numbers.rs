//! Conversion of numbers to values: a number that the dtype cannot hold is refused, never altered
//! silently.

use sluicebox_core::sample::{Dtype, Values};
use std::sync::Once;

/// Whole numbers up to this one are exact in f32.
const EXACT: f64 = 16_777_216.0;
/// The first whole number that f32 alters is said; a log with one line per sample would help nobody.
static ALTERED: Once = Once::new();

/// Appends a number of a text, which may have a fraction: rounded to the nearest f32, or a whole u8. Where that alters
/// a whole number, the log says so once: such a number is a time or an id more often than a measurement.
pub fn push(values: &mut Values, number: f64) -> Result<(), String> {
    match values {
        Values::U8(values) => {
            if number.fract() != 0.0 || !(0.0..=255.0).contains(&number) {
                return Err(no_byte(values.len(), number));
            }
            values.push(number as u8);
        }
        Values::F32(values) => {
            let rounded = number as f32;
            if !rounded.is_finite() {
                let at = values.len();
                return Err(match number.is_finite() {
                    true => format!("value {at} is {number}: too large for f32"),
                    false => format!("value {at} is {number}; values must be finite"),
                });
            }
            if is_altered(number) {
                ALTERED.call_once(|| {
                    tracing::warn!(
                        "value {} is {number}, and is taken as {rounded}: values are f32, which keeps 7 digits. Of a time, \
                         subtract a start; a column of ids belongs in source.ignore. This is said once",
                        values.len()
                    );
                });
            }
            values.push(rounded);
        }
    }
    Ok(())
}

/// Returns whether a whole number is another one as f32.
fn is_altered(number: f64) -> bool {
    number.abs() > EXACT && number.fract() == 0.0 && f64::from(number as f32) != number
}

/// Appends a number, or NaN where it is missing.
pub fn push_or_missing(values: &mut Values, number: f64) -> Result<(), String> {
    match values {
        Values::F32(values) if number.is_nan() => {
            values.push(f32::NAN);
            Ok(())
        }
        values => push(values, number),
    }
}

/// Appends a whole number, which f32 must hold exactly.
pub fn push_whole(values: &mut Values, number: i128) -> Result<(), String> {
    match values {
        Values::U8(values) => match u8::try_from(number) {
            Ok(byte) => values.push(byte),
            Err(_) => return Err(no_byte(values.len(), number)),
        },
        Values::F32(values) => {
            let float = number as f32;
            if float as i128 != number {
                return Err(format!("value {} is {number}, which f32 cannot hold exactly", values.len()));
            }
            values.push(float);
        }
    }
    Ok(())
}

fn no_byte(at: usize, number: impl std::fmt::Display) -> String {
    format!("value {at} is {number}: dtype u8 holds only whole numbers from 0 to 255")
}

/// Converts bytes to values: u8 unchanged, or the same numbers as f32.
pub fn of_bytes(dtype: Dtype, bytes: Vec<u8>) -> Values {
    match dtype {
        Dtype::U8 => Values::U8(bytes),
        Dtype::F32 => Values::F32(bytes.into_iter().map(f32::from).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_that_f32_alters() {
        let found = [16_777_216.0, 16_777_217.0, -1_732_780_801.0, 1_732_780_800.0, 16_777_217.5, 1e30];
        assert_eq!(found.map(is_altered), [false, true, true, false, false, true]);
    }
}
