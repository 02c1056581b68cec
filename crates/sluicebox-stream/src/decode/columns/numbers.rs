//! Numbers of all types of columns as values: what the dtype cannot hold is refused, never altered.

use crate::decode::numbers;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::DataType;
use half::f16;
use sluicebox_core::sample::Values;
use std::ops::Range;

/// Largest number up to which f32 holds every whole one.
const EXACT: i64 = 1 << 24;

/// The numbers of a column.
pub struct Numbers {
    typed: Typed,
    nulls: Option<NullBuffer>,
}

enum Typed {
    I8(ScalarBuffer<i8>),
    I16(ScalarBuffer<i16>),
    I32(ScalarBuffer<i32>),
    I64(ScalarBuffer<i64>),
    I128(ScalarBuffer<i128>),
    U8(ScalarBuffer<u8>),
    U16(ScalarBuffer<u16>),
    U32(ScalarBuffer<u32>),
    U64(ScalarBuffer<u64>),
    F16(ScalarBuffer<f16>),
    F32(ScalarBuffer<f32>),
    F64(ScalarBuffer<f64>),
}

/// Evaluates an expression for the numbers of whatever type they are.
macro_rules! of_any_type {
    ($typed:expr, $numbers:ident => $what:expr) => {
        match $typed {
            Typed::I8($numbers) => $what,
            Typed::I16($numbers) => $what,
            Typed::I32($numbers) => $what,
            Typed::I64($numbers) => $what,
            Typed::I128($numbers) => $what,
            Typed::U8($numbers) => $what,
            Typed::U16($numbers) => $what,
            Typed::U32($numbers) => $what,
            Typed::U64($numbers) => $what,
            Typed::F16($numbers) => $what,
            Typed::F32($numbers) => $what,
            Typed::F64($numbers) => $what,
        }
    };
}

impl Numbers {
    /// Takes the numbers of a column; None if it holds none.
    pub fn of(array: &dyn Array) -> Option<Self> {
        fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<ScalarBuffer<T::Native>> {
            array.as_primitive_opt::<T>().map(|array| array.values().clone())
        }
        let typed = match array.data_type() {
            // 0 and 1, as in arrays.
            DataType::Boolean => {
                Typed::I8(array.as_boolean_opt()?.values().iter().map(i8::from).collect::<Vec<_>>().into())
            }
            DataType::Int8 => Typed::I8(values::<Int8Type>(array)?),
            DataType::Int16 => Typed::I16(values::<Int16Type>(array)?),
            DataType::Int32 => Typed::I32(values::<Int32Type>(array)?),
            DataType::Int64 => Typed::I64(values::<Int64Type>(array)?),
            DataType::UInt8 => Typed::U8(values::<UInt8Type>(array)?),
            DataType::UInt16 => Typed::U16(values::<UInt16Type>(array)?),
            DataType::UInt32 => Typed::U32(values::<UInt32Type>(array)?),
            DataType::UInt64 => Typed::U64(values::<UInt64Type>(array)?),
            DataType::Float16 => Typed::F16(values::<Float16Type>(array)?),
            DataType::Float32 => Typed::F32(values::<Float32Type>(array)?),
            DataType::Float64 => Typed::F64(values::<Float64Type>(array)?),
            // Whole numbers, which are never rounded.
            DataType::Decimal32(_, 0) => Typed::I32(values::<Decimal32Type>(array)?),
            DataType::Decimal64(_, 0) => Typed::I64(values::<Decimal64Type>(array)?),
            DataType::Decimal128(_, 0) => Typed::I128(values::<Decimal128Type>(array)?),
            DataType::Decimal32(_, scale) => {
                scaled(&values::<Decimal32Type>(array)?, *scale, |value| f64::from(*value))
            }
            DataType::Decimal64(_, scale) => {
                scaled(&values::<Decimal64Type>(array)?, *scale, |value| *value as f64)
            }
            DataType::Decimal128(_, scale) => {
                scaled(&values::<Decimal128Type>(array)?, *scale, |value| *value as f64)
            }
            DataType::Decimal256(_, scale) => scaled(&values::<Decimal256Type>(array)?, *scale, |value| {
                value.to_string().parse().unwrap_or(f64::NAN)
            }),
            _ => return None,
        };
        Some(Self { typed, nulls: array.nulls().cloned() })
    }

    /// Writes the numbers of `rows` to place `at` of their samples, of `width` values each: NaN where one is missing and
    /// `may_miss`. Calls `bad` for rows whose number is missing otherwise, or does not suit.
    pub fn fill(
        &self,
        rows: Range<usize>,
        samples: &mut Values,
        (at, width): (usize, usize),
        may_miss: bool,
        mut bad: impl FnMut(usize, String),
    ) {
        let whole = rows.start * width..rows.end * width;
        // Most often all of them suit, which this finds out without a jump.
        let mut suit = self.nulls.is_none();
        of_any_type!(&self.typed, numbers => match samples {
            Values::F32(samples) => {
                let places = samples[whole].iter_mut().skip(at).step_by(width);
                for (place, number) in places.zip(&numbers[rows.clone()]) {
                    let single = number.single();
                    suit &= single.is_some();
                    *place = single.unwrap_or_default();
                }
            }
            Values::U8(samples) => {
                let places = samples[whole].iter_mut().skip(at).step_by(width);
                for (place, number) in places.zip(&numbers[rows.clone()]) {
                    let byte = number.byte();
                    suit &= byte.is_some();
                    *place = byte.unwrap_or_default();
                }
            }
        });
        if suit {
            return;
        }
        for row in rows {
            let number = of_any_type!(&self.typed, numbers => match samples {
                Values::F32(_) => numbers[row].single().is_some(),
                Values::U8(_) => numbers[row].byte().is_some(),
            });
            match samples {
                _ if number && self.is_valid(row) => {}
                Values::F32(samples) if may_miss && self.is_missing(row) => {
                    samples[row * width + at] = f32::NAN;
                }
                ref samples => bad(row, self.fault(row, at, Values::none(samples.dtype()))),
            }
        }
    }

    /// Copies the numbers in `range`, for which `values` has room; returns false if one is missing or does not suit.
    pub fn copy(&self, range: Range<usize>, values: &mut Values) -> bool {
        let nulls = self.nulls.as_ref().map(|nulls| nulls.slice(range.start, range.len()));
        let mut suit = nulls.is_none_or(|nulls| nulls.null_count() == 0);
        of_any_type!(&self.typed, numbers => match values {
            Values::F32(values) => {
                for (value, number) in values.iter_mut().zip(&numbers[range]) {
                    let single = number.single();
                    suit &= single.is_some();
                    *value = single.unwrap_or_default();
                }
            }
            Values::U8(values) => {
                for (value, number) in values.iter_mut().zip(&numbers[range]) {
                    let byte = number.byte();
                    suit &= byte.is_some();
                    *value = byte.unwrap_or_default();
                }
            }
        });
        suit
    }

    /// Appends the numbers of a sample that lies in `range`; the error says which one does not suit.
    pub fn push(&self, range: Range<usize>, values: &mut Values) -> Result<(), String> {
        let first = range.start;
        let bad =
            |place: usize, values: &Values| self.fault(first + place, place, Values::none(values.dtype()));
        if let (Typed::U8(numbers), Values::U8(bytes), None) = (&self.typed, &mut *values, &self.nulls) {
            bytes.extend_from_slice(&numbers[range]);
            return Ok(());
        }
        of_any_type!(&self.typed, numbers => {
            for (place, number) in numbers[range].iter().enumerate() {
                let valid = self.is_valid(first + place);
                let pushed = match values {
                    Values::F32(values) => {
                        number.single().filter(|_| valid).map(|value| values.push(value))
                    }
                    Values::U8(values) => number.byte().filter(|_| valid).map(|value| values.push(value)),
                };
                if pushed.is_none() {
                    return Err(bad(place, values));
                }
            }
        });
        Ok(())
    }

    /// Returns the number of a row as a class: a whole number in digits. -1 and what is missing are none.
    pub fn class(&self, row: usize) -> Result<Option<String>, String> {
        let name = self.name(row).map_err(|found| format!("the class is {found}"))?;
        Ok(name.filter(|number| *number != -1).map(|number| number.to_string()))
    }

    /// Returns the number of a row as an id: a whole number in digits, unless it is missing.
    pub fn id(&self, row: usize) -> Result<Option<String>, String> {
        let name = self.name(row).map_err(|found| format!("the id is {found}"))?;
        Ok(name.map(|number| number.to_string()))
    }

    fn name(&self, row: usize) -> Result<Option<i128>, String> {
        if !self.is_valid(row) {
            return Ok(None);
        }
        of_any_type!(&self.typed, numbers => numbers[row].name())
    }

    /// Returns the number of a row if it is whole.
    pub fn whole(&self, row: usize) -> Option<i128> {
        of_any_type!(&self.typed, numbers => numbers[row].whole()).filter(|_| self.is_valid(row))
    }

    /// Returns the number of a row as a text, unless it is missing.
    pub fn text(&self, row: usize) -> Option<String> {
        let text = of_any_type!(&self.typed, numbers => (!numbers[row].is_missing()).then(|| numbers[row].to_string()));
        text.filter(|_| self.is_valid(row))
    }

    /// Returns whether a row has no number.
    pub fn is_missing(&self, row: usize) -> bool {
        !self.is_valid(row) || of_any_type!(&self.typed, numbers => numbers[row].is_missing())
    }

    fn is_valid(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    /// Says what is wrong with a number, value `at` of its sample.
    fn fault(&self, row: usize, at: usize, mut none: Values) -> String {
        if self.is_missing(row) {
            return format!("value {at} is missing");
        }
        let reason = of_any_type!(&self.typed, numbers => numbers[row].push(&mut none));
        let reason = reason.err().unwrap_or_default();
        reason.replacen("value 0", &format!("value {at}"), 1)
    }
}

fn scaled<T>(values: &[T], scale: i8, to_f64: impl Fn(&T) -> f64) -> Typed {
    let factor = 10f64.powi(i32::from(scale));
    Typed::F64(values.iter().map(|value| to_f64(value) / factor).collect::<Vec<_>>().into())
}

/// A number of one type.
trait Number: Copy {
    /// Returns it as f32, if that suits.
    fn single(self) -> Option<f32>;
    /// Returns it as u8, if that suits.
    fn byte(self) -> Option<u8>;
    /// Appends it, or says why it does not suit.
    fn push(self, values: &mut Values) -> Result<(), String>;
    /// Returns whether it stands for a missing value.
    fn is_missing(self) -> bool;
    /// Returns it if it is whole.
    fn whole(self) -> Option<i128>;
    /// Returns it as a whole number that names something, unless it is missing; the error says what it is instead.
    fn name(self) -> Result<Option<i128>, String>;
}

macro_rules! whole {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            #[inline]
            fn single(self) -> Option<f32> {
                let exact = i64::try_from(self).is_ok_and(|whole| (-EXACT..=EXACT).contains(&whole));
                (exact || (self as f32) as i128 == self as i128).then_some(self as f32)
            }
            #[inline]
            fn byte(self) -> Option<u8> {
                u8::try_from(self).ok()
            }
            fn push(self, values: &mut Values) -> Result<(), String> {
                numbers::push_whole(values, self.into())
            }
            fn is_missing(self) -> bool {
                false
            }
            fn whole(self) -> Option<i128> {
                Some(self.into())
            }
            fn name(self) -> Result<Option<i128>, String> {
                Ok(self.whole())
            }
        }
    )*};
}
whole!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

/// Largest whole number that no other one is rounded to.
const LARGEST: f64 = ((1u64 << 53) - 1) as f64;

macro_rules! real {
    ($($kind:ty => $single:expr),*) => {$(
        impl Number for $kind {
            #[inline]
            fn single(self) -> Option<f32> {
                let value: f32 = $single(self);
                value.is_finite().then_some(value)
            }
            #[inline]
            fn byte(self) -> Option<u8> {
                let value = f64::from(self);
                (value.fract() == 0.0 && (0.0..=255.0).contains(&value)).then_some(value as u8)
            }
            fn push(self, values: &mut Values) -> Result<(), String> {
                numbers::push(values, self.into())
            }
            fn is_missing(self) -> bool {
                self.is_nan()
            }
            fn whole(self) -> Option<i128> {
                let value = f64::from(self);
                (value.fract() == 0.0 && value.abs() <= LARGEST).then_some(value as i128)
            }
            fn name(self) -> Result<Option<i128>, String> {
                match self.whole() {
                    Some(whole) => Ok(Some(whole)),
                    None if self.is_nan() => Ok(None),
                    None if f64::from(self).fract() == 0.0 => Err(format!(
                        "{self}, a float whose last digits may be lost: store it as an integer or a text"
                    )),
                    None => Err(format!("{self}, neither a whole number nor a text")),
                }
            }
        }
    )*};
}
real!(f16 => f32::from, f32 => std::convert::identity, f64 => |value| value as f32);
