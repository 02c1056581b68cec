//! Options that describe samples, for sources whose input does not say.

use serde::{Deserialize, Serialize};
use sluicebox_core::sample::{Dtype, Format, Shape};

/// Returns the fault of the option `scale`, if it is out of range.
pub fn scale_fault(scale: Option<f64>) -> Option<(&'static str, String)> {
    let scale = scale.filter(|scale| !(*scale as f32).is_normal())?;
    Some(("scale", format!("{scale:?} is not a number from 1e-37 to 1e38, or the same below 0")))
}

/// Returns the factor from a value to the model's input: the one that is given, or 1/255 for u8 and 1 for f32.
pub fn scale_of(dtype: Dtype, given: Option<f64>) -> f32 {
    given.map_or(if dtype == Dtype::U8 { 1.0 / 255.0 } else { 1.0 }, |scale| scale as f32)
}

/// Options that describe the samples of a source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleFormatOptions {
    /// `[features]`, or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// `u8` or `f32`.
    pub dtype: Dtype,
    /// Factor from a value to the model's input; by default 1/255 for u8 and 1 for f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

impl SampleFormatOptions {
    /// Returns the options that are out of range, each with a reason.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults: Vec<_> = Self::shape_fault(&self.shape).into_iter().collect();
        if self.classes.len() < 2 {
            faults.push(("classes", "a job needs two classes or more".into()));
        }
        faults.extend(scale_fault(self.scale));
        faults
    }

    /// Returns the fault of the option `shape`, if it is none.
    pub fn shape_fault(shape: &[usize]) -> Option<(&'static str, String)> {
        let fits = matches!(shape.len(), 1 | 3) && !shape.contains(&0);
        (!fits).then(|| ("shape", format!("{shape:?} is neither [features] nor [channels, height, width]")))
    }

    /// Returns what the option `shape` stands for.
    pub fn shape_of(shape: &[usize]) -> Shape {
        match *shape {
            [channels, height, width] => Shape::Image { channels, height, width },
            _ => Shape::Vector { features: shape.iter().product() },
        }
    }

    /// Returns the job's sample format.
    pub fn format(&self) -> Format {
        let shape = Self::shape_of(&self.shape);
        let scale = scale_of(self.dtype, self.scale);
        Format { shape, dtype: self.dtype, scale, classes: self.classes.clone() }
    }
}
