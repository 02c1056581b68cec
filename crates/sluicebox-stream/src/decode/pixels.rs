//! The range of pixels. Some views keep images within 0 to 1 and would make them black or white where a job's scale does
//! not bring them there.

use sluicebox_core::sample::{Dtype, Format, Values};

/// What pixels may lie outside of 0 to 1, as rounding and resizing leave them.
const SLACK: f32 = 0.01;

/// A check of images for views that keep pixels within 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelRange {
    /// The view, as messages name it.
    view: String,
    scale: f32,
}

impl PixelRange {
    /// Creates a check of images of `format` for `view`.
    pub fn new(view: &str, format: &Format) -> Self {
        Self { view: view.into(), scale: format.scale }
    }

    /// Returns whether any values of `dtype` suit the view, so that none need to be looked at.
    pub fn suits_all(&self, dtype: Dtype) -> bool {
        dtype == Dtype::U8 && self.holds_bytes()
    }

    /// Returns why a sample's values do not suit the view, if they do not.
    pub fn check(&self, values: &Values) -> Result<(), String> {
        let outside = match values {
            Values::U8(_) if self.suits_all(Dtype::U8) => None,
            Values::U8(values) => {
                values.iter().map(|value| f32::from(*value)).find(|value| self.leaves(*value))
            }
            Values::F32(values) => values.iter().copied().find(|value| self.leaves(*value)),
        };
        outside.map_or(Ok(()), |value| Err(self.reason(value)))
    }

    /// Returns why no job can bring pixels of `dtype` into the view, if none can.
    pub fn check_scale(&self, dtype: Dtype) -> Result<(), String> {
        match dtype {
            Dtype::U8 if !self.holds_bytes() => Err(self.reason(255.0)),
            _ => Ok(()),
        }
    }

    fn holds_bytes(&self) -> bool {
        !self.leaves(255.0)
    }

    fn leaves(&self, value: f32) -> bool {
        !(-SLACK..=1.0 + SLACK).contains(&(value * self.scale))
    }

    fn reason(&self, value: f32) -> String {
        let Self { view, scale } = self;
        let remedy = match value {
            value if value < 0.0 => {
                "values below 0 look standardised: give them as they were, from 0 on, and set \
                                     model.normalise, or leave that view out"
                    .to_string()
            }
            value if value <= 1.0 => format!("set source.scale = 1 instead of {scale}"),
            value if value <= 255.0 => "set source.scale = 0.00392157 (1/255)".into(),
            value if value <= 65535.0 => "set source.scale = 1.52590219e-5 (1/65535)".into(),
            _ => "set source.scale so that they lie from 0 to 1".into(),
        };
        format!(
            "a pixel is {value}, times source.scale {}, but {view} takes pixels from 0 to 1; {remedy}",
            value * scale
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::Shape;

    fn range(dtype: Dtype, scale: f32) -> PixelRange {
        let shape = Shape::Image { channels: 1, height: 1, width: 2 };
        PixelRange::new("views.strong[0] (noise)", &Format { shape, dtype, scale, classes: Vec::new() })
    }

    #[test]
    fn values_outside_are_refused_with_the_scale_to_set() {
        for (scale, values, says) in [
            (1.0, [0.0, 200.0], "set source.scale = 0.00392157 (1/255)"),
            (1.0, [0.0, 60_000.0], "set source.scale = 1.52590219e-5 (1/65535)"),
            (1.0 / 255.0, [0.0, 60_000.0], "(1/65535)"),
            (1.0, [-1.5, 0.5], "set model.normalise"),
            (2.0, [0.0, 0.9], "set source.scale = 1 instead of 2"),
            (1.0, [0.0, 1e20], "so that they lie from 0 to 1"),
        ] {
            let reason = range(Dtype::F32, scale).check(&Values::F32(values.to_vec())).unwrap_err();
            assert!(reason.contains(says) && reason.contains("views.strong[0] (noise)"), "{reason}");
        }
        let suits = |scale, values: [f32; 2]| range(Dtype::F32, scale).check(&Values::F32(values.to_vec()));
        assert_eq!(suits(0.00392157, [0.0, 255.0]), Ok(()));
        assert_eq!(suits(1.525_902_2e-5, [0.0, 65_535.0]), Ok(()));
        assert_eq!(suits(1.0, [-0.001, 1.001]), Ok(()));
    }

    #[test]
    fn bytes_suit_by_their_scale() {
        let bytes = Values::U8(vec![0, 2]);
        assert_eq!(range(Dtype::U8, 1.0 / 255.0).check(&bytes), Ok(()));
        assert!(range(Dtype::U8, 1.0).check(&bytes).is_err());
        assert!(range(Dtype::U8, 1.0).check_scale(Dtype::U8).unwrap_err().contains("(1/255)"));
        assert_eq!(range(Dtype::F32, 1.0).check_scale(Dtype::F32), Ok(()));
    }
}
