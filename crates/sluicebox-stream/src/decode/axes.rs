//! Order of the axes of an image in an array.

use serde::{Deserialize, Serialize};
use sluicebox_core::sample::{Shape, Values};

/// Most channels that an axis has by itself.
const FEW: usize = 4;

/// The option `layout`: where an array of `[count, …]` has its channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// On the axis that has few values, if there is one.
    #[default]
    Auto,
    /// `[count, channels, height, width]`.
    ChannelsFirst,
    /// `[count, height, width, channels]`.
    ChannelsLast,
}

impl Layout {
    /// Returns whether it is the default.
    pub fn is_auto(&self) -> bool {
        *self == Layout::Auto
    }
}

/// How the values of a sample in an array are read: its shape, and the order of its axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes {
    /// Shape of the sample.
    pub shape: Shape,
    /// Sizes of the axes in the array.
    dims: [usize; 3],
    /// Axis of the array that becomes channels, rows and columns.
    order: [usize; 3],
}

impl Axes {
    /// Decides how samples of these sizes are read. With `transpose` the rows of an image are its columns, as in
    /// EMNIST. The error says what to set.
    pub fn of(dims: &[usize], layout: Layout, transpose: bool) -> Result<Self, String> {
        let vector =
            |features| Self { shape: Shape::Vector { features }, dims: [1, 1, features], order: [0, 1, 2] };
        let (dims, last) = match *dims {
            _ if dims.contains(&0) => {
                return Err(format!("samples are of {}: they have no values", shown(dims)));
            }
            [] => return Ok(vector(1)),
            [features] => return Ok(vector(features)),
            [height, width] => ([1, height, width], false),
            [a, b, c] => ([a, b, c], channels_last([a, b, c], layout)?),
            _ => {
                let sizes = shown(dims);
                return Err(format!("samples are of {sizes}, but a sample has one to three axes"));
            }
        };
        let [channels, rows, columns] = if last { [2, 0, 1] } else { [0, 1, 2] };
        let order = if transpose { [channels, columns, rows] } else { [channels, rows, columns] };
        let [channels, height, width] = order.map(|axis| dims[axis]);
        Ok(Self { shape: Shape::Image { channels, height, width }, dims, order })
    }

    /// Returns whether the channels are moved from the last axis to the first.
    pub fn channels_are_last(&self) -> bool {
        self.order[0] == 2
    }

    /// Returns the values of a sample, channels first.
    pub fn ordered(&self, values: Values) -> Values {
        match (self.order, values) {
            ([0, 1, 2], values) => values,
            (_, Values::U8(values)) => Values::U8(self.moved(&values)),
            (_, Values::F32(values)) => Values::F32(self.moved(&values)),
        }
    }

    fn moved<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let strides = [self.dims[1] * self.dims[2], self.dims[2], 1];
        let [a, b, c] = self.order.map(|axis| (self.dims[axis], strides[axis]));
        let mut moved = Vec::with_capacity(values.len());
        for channel in 0..a.0 {
            for row in 0..b.0 {
                let from = channel * a.1 + row * b.1;
                moved.extend((0..c.0).map(|column| values[from + column * c.1]));
            }
        }
        moved
    }
}

/// Returns whether the channels of a sample are its last axis.
fn channels_last(dims: [usize; 3], layout: Layout) -> Result<bool, String> {
    let [first, _, last] = dims;
    match layout {
        Layout::ChannelsFirst => return Ok(false),
        Layout::ChannelsLast => return Ok(true),
        Layout::Auto => {}
    }
    match (first <= FEW, last <= FEW) {
        (true, false) => Ok(false),
        (false, true) => Ok(true),
        (false, false) if first < last => Ok(false),
        _ => Err(format!(
            "samples are of {}, and the channels may be the first axis or the last: set source.layout = \
             \"channels-first\" or \"channels-last\"",
            shown(&dims)
        )),
    }
}

fn shown(dims: &[usize]) -> String {
    let sizes: Vec<String> = dims.iter().take(8).map(usize::to_string).collect();
    sizes.join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize], layout: Layout) -> Result<(usize, usize, usize), String> {
        match Axes::of(dims, layout, false)?.shape {
            Shape::Image { channels, height, width } => Ok((channels, height, width)),
            Shape::Vector { features } => Ok((0, 0, features)),
        }
    }

    #[test]
    fn few_values_are_channels_and_what_could_be_either_is_refused() {
        use Layout::{Auto, ChannelsFirst, ChannelsLast};
        for channels in 1..=4 {
            assert_eq!(shape(&[8, 9, channels], Auto), Ok((channels, 8, 9)));
            assert_eq!(shape(&[channels, 8, 9], Auto), Ok((channels, 8, 9)));
        }
        assert_eq!(shape(&[12, 64, 64], Auto), Ok((12, 64, 64)));
        for either in [[2, 4, 4], [1, 28, 3], [64, 64, 12], [8, 8, 8], [3, 3, 3]] {
            assert!(shape(&either, Auto).unwrap_err().contains("set source.layout"), "{either:?}");
            assert_eq!(shape(&either, ChannelsFirst), Ok((either[0], either[1], either[2])));
            assert_eq!(shape(&either, ChannelsLast), Ok((either[2], either[0], either[1])));
        }
        assert_eq!(shape(&[28, 30], Auto), Ok((1, 28, 30)));
        assert_eq!((shape(&[5], Auto), shape(&[], Auto)), (Ok((0, 0, 5)), Ok((0, 0, 1))));
        assert!(shape(&[1, 2, 3, 4], Auto).unwrap_err().contains("one to three axes"));
    }

    #[test]
    fn values_are_moved() {
        // 2 rows, 3 columns, 2 channels: 10 × row + column, and 100 more in the second channel.
        let pixel = |row: u8, column: u8, channel: u8| 100 * channel + 10 * row + column;
        let mut last = Vec::new();
        for row in 0..2 {
            for column in 0..3 {
                last.extend((0..2).map(|channel| pixel(row, column, channel)));
            }
        }
        let axes = Axes::of(&[2, 3, 2], Layout::ChannelsLast, false).unwrap();
        assert!(axes.channels_are_last());
        let first = vec![0, 1, 2, 10, 11, 12, 100, 101, 102, 110, 111, 112];
        assert_eq!(axes.ordered(Values::U8(last)), Values::U8(first));
        let turned = Axes::of(&[2, 3], Layout::Auto, true).unwrap();
        assert_eq!(turned.shape, Shape::Image { channels: 1, height: 3, width: 2 });
        let rows = Values::F32(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        assert_eq!(turned.ordered(rows), Values::F32(vec![0.0, 10.0, 1.0, 11.0, 2.0, 12.0]));
    }
}
