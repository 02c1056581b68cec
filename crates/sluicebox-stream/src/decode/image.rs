//! PNG, JPEG, WebP, TIFF, GIF and BMP images, converted to the format: grey or colour according to its channels,
//! rotated according to their orientation tag, put on a background where they are transparent, and resized if
//! allowed. Of a film or a file with several pages the first image is read.
//!
//! A small file can claim to hold a huge image. Size, pixels, memory and the number of scans are bounded, and an
//! image of another size that may not be resized is refused before it is unpacked.

mod jpeg;
mod webp;

use crate::decode::api::{DecodeError, Record, Records};
use crate::decode::foreign;
use crate::decode::numbers;
use crate::decode::options::Options;
use ::image::imageops::{FilterType, resize};
use ::image::metadata::Orientation;
use ::image::{
    ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, Luma, Pixel, Rgb,
};
use sluicebox_core::sample::{Format, Shape, Values};
use std::io::{Cursor, Read};

/// Endings of the names of images.
pub const ENDINGS: [&str; 9] = ["png", "jpg", "jpeg", "jfif", "webp", "tif", "tiff", "gif", "bmp"];
/// Maximum size of a file, in bytes.
pub const LARGEST_FILE: u64 = 64 << 20;
/// Maximum length of a side, in pixels.
const LONGEST_SIDE: u32 = 1 << 14;
/// Maximum number of pixels.
const MOST_PIXELS: u64 = 64 << 20;
/// Maximum memory for decoding one image, in bytes, of which several may be decoded at once; the conversion to grey or colour takes up to 192 MiB more.
const MOST_MEMORY: u64 = 256 << 20;

/// Decodes an image into one sample, channels first.
///
/// An image of another size is resized with a triangle filter, without keeping the aspect ratio, or
/// refused. 16 bits are reduced to 8; floating-point pixels, of which nobody knows the range, are refused.
pub fn image(bytes: &[u8], format: &Format, options: &Options) -> Result<Values, String> {
    let Shape::Image { channels: channels @ (1 | 3), height, width } = format.shape else {
        return Err(format!("an image, but samples are {}: neither grey nor colour", format.shape));
    };
    let wanted = (!options.resize).then_some((height, width));
    let image = options.background.behind(decode(bytes, wanted)?);
    let planes = match channels {
        1 => fitted(grey(image), height, width),
        _ => planes(&fitted(image.into_rgb8(), height, width)),
    };
    Ok(numbers::of_bytes(format.dtype, planes))
}

/// Returns an image as grey: of colours the luminance of ITU-R 601, as Pillow and OpenCV have it.
fn grey(image: DynamicImage) -> GrayImage {
    if !image.color().has_color() {
        return image.into_luma8();
    }
    let colours = image.into_rgb8();
    let luminance = |Rgb([red, green, blue]): &Rgb<u8>| {
        let sum = 19_595 * u32::from(*red) + 38_470 * u32::from(*green) + 7_471 * u32::from(*blue);
        Luma([((sum + (1 << 15)) >> 16) as u8])
    };
    GrayImage::from_fn(colours.width(), colours.height(), |x, y| luminance(colours.get_pixel(x, y)))
}

/// Returns the red, the green and the blue of all pixels, one after the other.
fn planes(pixels: &[u8]) -> Vec<u8> {
    let mut planes = Vec::with_capacity(pixels.len());
    let (pixels, _) = pixels.as_chunks::<3>();
    for channel in 0..3 {
        planes.extend(pixels.iter().map(|pixel| pixel[channel]));
    }
    planes
}

/// Returns the number of pixels of an image, as its first bytes say.
pub fn pixels_of(bytes: &[u8]) -> Result<u64, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("not a readable image: {error}");
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let (width, height) =
        reader.map_err(|error| unreadable(&error))?.into_dimensions().map_err(|error| unreadable(&error))?;
    Ok(u64::from(width) * u64::from(height))
}

/// Returns the shape of a sample that holds an image as it is: grey or colour, in its own size.
pub fn shape(bytes: &[u8]) -> Result<Shape, String> {
    let image = decode(bytes, None)?;
    let channels = if image.color().has_color() { 3 } else { 1 };
    Ok(Shape::Image { channels, height: image.height() as usize, width: image.width() as usize })
}

/// Decodes an image; of any height and width unless some are wanted.
fn decode(bytes: &[u8], wanted: Option<(usize, usize)>) -> Result<DynamicImage, String> {
    let unreadable = |error: ::image::ImageError| format!("not a readable image: {error}");
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| unreadable(error.into()))?;
    if let Some(other) = foreign::reason(bytes).filter(|_| reader.format().is_none()) {
        return Err(other);
    }
    match reader.format() {
        Some(ImageFormat::Jpeg) => jpeg::check(bytes)?,
        Some(ImageFormat::WebP) => webp::check(bytes)?,
        _ => {}
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    limits.reserve(decoder.total_bytes()).map_err(unreadable)?;
    let orientation = decoder.orientation().map_err(unreadable)?;
    check_size(decoder.dimensions(), orientation, wanted)?;
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err("an image of floating-point pixels; save it as NPY, or with 8 or 16 bits".into());
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Refuses an image with too many pixels, or not of the height and width that are wanted once it is rotated.
fn check_size(
    (width, height): (u32, u32),
    orientation: Orientation,
    wanted: Option<(usize, usize)>,
) -> Result<(), String> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("an image of {height}×{width}: more than {MOST_PIXELS} pixels"));
    }
    let found = match orientation {
        Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH => (width as usize, height as usize),
        _ => (height as usize, width as usize),
    };
    match wanted {
        Some((height, width)) if found != (height, width) => Err(format!(
            "an image of {}×{} instead of {height}×{width}; set resize = true to resize it",
            found.0, found.1
        )),
        _ => Ok(()),
    }
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
    options: Options,
}

/// Decodes an image file into its one record.
pub(super) fn records(
    input: impl Read + Send + 'static,
    format: &Format,
    options: &Options,
) -> impl Records + 'static {
    One { input: Some(input), format: format.clone(), options: options.clone() }
}

impl<R: Read + Send> Records for One<R> {
    fn next_record(&mut self) -> Result<Option<Record>, DecodeError> {
        let Some(input) = self.input.take() else { return Ok(None) };
        let mut bytes = Vec::new();
        input.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(DecodeError::Broken(format!("an image of more than {} MiB", LARGEST_FILE >> 20)));
        }
        let values = image(&bytes, &self.format, &self.options).map_err(DecodeError::Broken)?;
        Ok(Some(Record { id: None, values, class: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::RgbImage;
    use sluicebox_core::sample::Dtype;

    fn format(channels: usize, height: usize, width: usize, dtype: Dtype) -> Format {
        let shape = Shape::Image { channels, height, width };
        Format { shape, dtype, scale: 1.0, classes: Vec::new() }
    }

    fn read(bytes: &[u8], format: &Format, resize: bool) -> Result<Values, String> {
        image(bytes, format, &Options { resize, ..Options::default() })
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
        let planes = read(&png, &format(3, 1, 2, Dtype::U8), false).unwrap();
        assert_eq!(planes, Values::U8(vec![10, 11, 20, 21, 30, 31]));
        let Values::F32(grey) = read(&png, &format(1, 1, 2, Dtype::F32), false).unwrap() else { panic!() };
        assert_eq!(grey, [18.0, 19.0], "0.299, 0.587 and 0.114 of red, green and blue");
        let png = file(GrayImage::from_pixel(2, 1, Luma([7])), ImageFormat::Png);
        assert_eq!(read(&png, &format(3, 1, 2, Dtype::U8), false), Ok(Values::U8(vec![7; 6])));
    }

    #[test]
    fn another_size_is_refused_or_resized() {
        let jpeg = file(GrayImage::from_pixel(9, 5, Luma([128])), ImageFormat::Jpeg);
        let reason = read(&jpeg, &format(1, 4, 4, Dtype::U8), false).unwrap_err();
        assert_eq!(reason, "an image of 5×9 instead of 4×4; set resize = true to resize it");
        let Values::U8(pixels) = read(&jpeg, &format(1, 4, 4, Dtype::U8), true).unwrap() else { panic!() };
        assert!(pixels.len() == 16 && pixels.iter().all(|pixel| pixel.abs_diff(128) < 4), "{pixels:?}");
        let vector = Format { shape: Shape::Vector { features: 45 }, ..format(1, 1, 1, Dtype::U8) };
        assert!(read(&jpeg, &vector, true).unwrap_err().contains("neither grey nor colour"));
    }

    #[test]
    fn what_follows_the_end_of_a_jpeg_is_no_part_of_it() {
        let format = format(1, 8, 8, Dtype::U8);
        let plain = file(GrayImage::from_fn(8, 8, |x, y| Luma([(x * y) as u8])), ImageFormat::Jpeg);
        // The film of a motion photo, in which the mark of a scan comes by chance.
        let film = [b"\0\0\0\x18ftypmp42".as_slice(), &[0xff, 0xda, 1, 2, 0xff, 0xd8, 3]].concat();
        assert_eq!(read(&[plain.clone(), film].concat(), &format, false), read(&plain, &format, false));
        assert!(read(&plain[..plain.len() - 2], &format, false).unwrap_err().contains("truncated"));
    }

    #[test]
    fn damaged_truncated_and_swollen_images_are_faults() {
        let format = format(1, 64, 64, Dtype::U8);
        let noise = GrayImage::from_fn(64, 64, |x, y| Luma([(x * 7919 + y * 104_729) as u8 ^ (x * y) as u8]));
        for kind in [ImageFormat::Png, ImageFormat::Jpeg] {
            let whole = file(noise.clone(), kind);
            assert!(read(&whole, &format, false).is_ok());
            for length in (0..whole.len() - 12).step_by(97) {
                assert!(read(&whole[..length], &format, false).is_err(), "{kind:?} of {length} bytes");
            }
        }
        assert!(read(b"hello", &format, true).unwrap_err().contains("not a readable image"));
        // PNGs with false headers: one exceeds the limit of a side, the other that of pixels.
        for (side, says) in [(60_000u32, "not a readable image"), (16_383, "more than 67108864 pixels")] {
            let mut png = file(noise.clone(), ImageFormat::Png);
            png[16..20].copy_from_slice(&side.to_be_bytes());
            png[20..24].copy_from_slice(&side.to_be_bytes());
            let mut checksum = flate2::Crc::new();
            checksum.update(&png[12..29]);
            png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
            let reason = read(&png, &format, true).unwrap_err();
            assert!(reason.contains(says), "{side}: {reason}");
        }
        // A scan costs time for the whole image.
        let mut jpeg = file(noise.clone(), ImageFormat::Jpeg);
        let scan = jpeg.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
        let scans = jpeg[scan..jpeg.len() - 2].repeat(100);
        jpeg.splice(scan..jpeg.len() - 2, scans);
        assert_eq!(read(&jpeg, &format, true).unwrap_err(), "a JPEG of more than 64 scans");
    }
}
