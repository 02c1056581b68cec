//! PNG and JPEG images, converted to the format: grey or colour according to its channels, rotated
//! according to their orientation tag, and resized if allowed.

use crate::decode::api::{DecodeError, Record, Records};
use crate::decode::numbers;
use ::image::imageops::{FilterType, resize};
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Pixel};
use sluicebox_core::sample::{Format, Shape, Values};
use std::io::{Cursor, Read};

/// Maximum size of a file, in bytes.
const LARGEST_FILE: u64 = 64 << 20;
/// Maximum length of a side, in pixels.
const LONGEST_SIDE: u32 = 1 << 14;
/// Maximum memory for decoding, in bytes.
const MOST_MEMORY: u64 = 512 << 20;

/// Decodes an image into one sample, channels first.
///
/// An image of another size is resized with a triangle filter, without keeping the aspect ratio, or
/// refused. Transparency is ignored, and 16 bits are reduced to 8.
pub fn image(bytes: &[u8], format: &Format, may_resize: bool) -> Result<Values, String> {
    let Shape::Image { channels: channels @ (1 | 3), height, width } = format.shape else {
        return Err(format!("an image, but samples are {}: neither grey nor colour", format.shape));
    };
    let image = decode(bytes)?;
    let found = (image.height() as usize, image.width() as usize);
    if found != (height, width) && !may_resize {
        return Err(format!(
            "an image of {}×{} instead of {height}×{width}; set resize = true to resize it",
            found.0, found.1
        ));
    }
    let pixels = match channels {
        1 => fitted(image.to_luma8(), height, width),
        _ => fitted(image.to_rgb8(), height, width),
    };
    let planes = (0..channels).flat_map(|channel| pixels.iter().skip(channel).step_by(channels).copied());
    Ok(numbers::of_bytes(format.dtype, planes.collect()))
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    let read = || {
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        let kind = reader.format();
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder()?;
        limits.clone().reserve(decoder.total_bytes())?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok((image, kind))
    };
    let (image, kind) =
        read().map_err(|error: ::image::ImageError| format!("not a readable image: {error}"))?;
    if kind == Some(ImageFormat::Jpeg) && is_cut(bytes) {
        return Err("the image is truncated".into());
    }
    Ok(image)
}

/// Returns whether the end of a JPEG is missing: the decoder fills missing parts with grey. No
/// marker can occur by chance within the data of a scan.
fn is_cut(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    last([0xff, 0xd9]) < last([0xff, 0xda])
}

/// Returns the pixels of the image at the given size, row by row.
fn fitted<P>(image: ::image::ImageBuffer<P, Vec<u8>>, height: usize, width: usize) -> Vec<u8>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    match (image.height() as usize, image.width() as usize) == (height, width) {
        true => image.into_raw(),
        false => resize(&image, width as u32, height as u32, FilterType::Triangle).into_raw(),
    }
}

/// Reader of a file with one record.
struct One<R> {
    input: Option<R>,
    format: Format,
    resize: bool,
}

/// Decodes an image file into its one record.
pub(super) fn records(
    input: impl Read + Send + 'static,
    format: &Format,
    resize: bool,
) -> impl Records + 'static {
    One { input: Some(input), format: format.clone(), resize }
}

impl<R: Read + Send> Records for One<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        let Some(input) = self.input.take() else { return Ok(None) };
        let mut bytes = Vec::new();
        input.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(DecodeError::Broken(format!("an image of more than {} MiB", LARGEST_FILE >> 20)));
        }
        let values = image(&bytes, &self.format, self.resize).map_err(DecodeError::Broken)?;
        Ok(Some(Record { id: None, values, class: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::{GrayImage, Luma, Rgb, RgbImage};
    use sluicebox_core::sample::Dtype;

    fn format(channels: usize, height: usize, width: usize, dtype: Dtype) -> Format {
        let shape = Shape::Image { channels, height, width };
        Format { shape, dtype, scale: 1.0, classes: Vec::new() }
    }

    fn file(image: impl Into<DynamicImage>, kind: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        image.into().write_to(&mut file, kind).unwrap();
        file.into_inner()
    }

    #[test]
    fn channels_first_grey_or_colour() {
        let colour = RgbImage::from_fn(2, 1, |x, _| Rgb([10 + x as u8, 20 + x as u8, 30 + x as u8]));
        let png = file(colour, ImageFormat::Png);
        let planes = image(&png, &format(3, 1, 2, Dtype::U8), false).unwrap();
        assert_eq!(planes, Values::U8(vec![10, 11, 20, 21, 30, 31]));
        let Values::F32(grey) = image(&png, &format(1, 1, 2, Dtype::F32), false).unwrap() else { panic!() };
        assert!(grey.len() == 2 && (15.0..25.0).contains(&grey[0]), "{grey:?}");
        let png = file(GrayImage::from_pixel(2, 1, Luma([7])), ImageFormat::Png);
        assert_eq!(image(&png, &format(3, 1, 2, Dtype::U8), false), Ok(Values::U8(vec![7; 6])));
    }

    #[test]
    fn another_size_is_refused_or_resized() {
        let jpeg = file(GrayImage::from_pixel(9, 5, Luma([128])), ImageFormat::Jpeg);
        let reason = image(&jpeg, &format(1, 4, 4, Dtype::U8), false).unwrap_err();
        assert_eq!(reason, "an image of 5×9 instead of 4×4; set resize = true to resize it");
        let Values::U8(pixels) = image(&jpeg, &format(1, 4, 4, Dtype::U8), true).unwrap() else { panic!() };
        assert!(pixels.len() == 16 && pixels.iter().all(|pixel| pixel.abs_diff(128) < 4), "{pixels:?}");
        let vector = Format { shape: Shape::Vector { features: 45 }, ..format(1, 1, 1, Dtype::U8) };
        assert!(image(&jpeg, &vector, true).unwrap_err().contains("neither grey nor colour"));
    }

    #[test]
    fn damaged_truncated_and_swollen_images_are_faults() {
        let format = format(1, 64, 64, Dtype::U8);
        let noise = GrayImage::from_fn(64, 64, |x, y| Luma([(x * 7919 + y * 104_729) as u8 ^ (x * y) as u8]));
        for kind in [ImageFormat::Png, ImageFormat::Jpeg] {
            let whole = file(noise.clone(), kind);
            assert!(image(&whole, &format, false).is_ok());
            for length in (0..whole.len() - 12).step_by(97) {
                assert!(image(&whole[..length], &format, false).is_err(), "{kind:?} of {length} bytes");
            }
        }
        assert!(image(b"hello", &format, true).unwrap_err().contains("not a readable image"));
        // PNGs with false headers: one exceeds the limit of a side, the other the memory limit.
        for side in [60_000u32, 16_383] {
            let mut png = file(noise.clone(), ImageFormat::Png);
            png[16..20].copy_from_slice(&side.to_be_bytes());
            png[20..24].copy_from_slice(&side.to_be_bytes());
            let mut checksum = flate2::Crc::new();
            checksum.update(&png[12..29]);
            png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
            assert!(image(&png, &format, true).unwrap_err().contains("not a readable image"));
        }
    }
}
