//! A confusion matrix as an image: a row per true class, a column per given class; a cell is the
//! darker the more of its row's samples it has.

use crate::sink::tensorboard::proto::Image;
use image::{ImageFormat, Rgb, RgbImage};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::report::Confusion;
use std::io::Cursor;

/// Approximate side of the image, in pixels.
const SIDE: u32 = 480;
/// Colours of a cell without samples, and of one with all samples of its row.
const PALE: [f32; 3] = [247.0, 251.0, 255.0];
const DARK: [f32; 3] = [8.0, 48.0, 107.0];
/// Colour of the lines between cells.
const LINE: Rgb<u8> = Rgb([222, 226, 230]);

/// Draws `classes` classes; only the first ones if there are more classes than pixels.
pub fn picture(confusion: &Confusion, classes: usize) -> Result<Image> {
    let last = confusion.cells.iter().map(|cell| cell.truth.max(cell.given) + 1).max();
    let classes = (classes as u32).max(last.unwrap_or(0)).clamp(1, SIDE);
    let cell_side = SIDE / classes;
    let mut rows = vec![0; classes as usize];
    let shown = || confusion.cells.iter().filter(|cell| cell.truth < classes && cell.given < classes);
    shown().for_each(|cell| rows[cell.truth as usize] += cell.samples);
    let mut picture = RgbImage::from_pixel(classes * cell_side, classes * cell_side, shade(0.0));
    if cell_side > 8 {
        let lines = picture.enumerate_pixels_mut();
        let on_line = |(x, y, _): &(u32, u32, _)| x % cell_side == 0 || y % cell_side == 0;
        lines.filter(on_line).for_each(|(_, _, pixel)| *pixel = LINE);
    }
    let inset = u32::from(cell_side > 8);
    for cell in shown() {
        let colour = shade(cell.samples as f32 / rows[cell.truth as usize].max(1) as f32);
        for (x, y) in (inset..cell_side).flat_map(|y| (inset..cell_side).map(move |x| (x, y))) {
            picture.put_pixel(cell.given * cell_side + x, cell.truth * cell_side + y, colour);
        }
    }
    let (width, height) = picture.dimensions();
    let mut encoded = Cursor::new(Vec::new());
    let written = picture.write_to(&mut encoded, ImageFormat::Png);
    written.map_err(|error| Error::Engine(format!("cannot draw a confusion matrix: {error}")))?;
    let (height, width) = (height as i32, width as i32);
    Ok(Image { height, width, colorspace: 3, encoded: encoded.into_inner() })
}

fn shade(share: f32) -> Rgb<u8> {
    let mix = |pale: f32, dark: f32| (pale + (dark - pale) * share.clamp(0.0, 1.0).sqrt()).round() as u8;
    Rgb([0, 1, 2].map(|channel| mix(PALE[channel], DARK[channel])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::report::Cell;

    fn decoded(image: &Image) -> RgbImage {
        image::load_from_memory(&image.encoded).unwrap().to_rgb8()
    }

    #[test]
    fn a_cell_is_as_dark_as_its_part_of_the_row() {
        let cell = |truth, given, samples| Cell { truth, given, samples, accepted: 0 };
        let cells = vec![cell(0, 0, 3), cell(0, 1, 1), cell(1, 1, 9)];
        let drawn = picture(&Confusion { of: "stream".into(), cells }, 2).unwrap();
        assert_eq!((drawn.width, drawn.height), (480, 480));
        let drawn = decoded(&drawn);
        let [hit, miss, none, all] = [(120, 120), (360, 120), (120, 360), (360, 360)];
        let red = |(x, y)| drawn.get_pixel(x, y).0[0];
        assert!(red(none) > red(miss) && red(miss) > red(hit) && red(hit) > red(all));
    }

    #[test]
    fn more_classes_than_pixels_and_none_at_all_are_drawn_too() {
        let cells = vec![Cell { truth: 999, given: 0, samples: 1, accepted: 0 }];
        assert_eq!(picture(&Confusion { of: "labels".into(), cells }, 1000).unwrap().width, 480);
        assert_eq!(picture(&Confusion::default(), 0).unwrap().width, 480);
    }
}
