//! `GET /wall.json`: thumbnails of samples, each with a small PNG.

use crate::serve::http::blocking::blocking;
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, GrayImage, RgbImage, imageops::FilterType};
use serde::Serialize;
use sluicebox_core::report::thumbnail::Thumbnail;
use sluicebox_observe::gallery::Thumbnails;
use std::collections::VecDeque;
use std::sync::Arc;

/// Largest width and height, in pixels.
const SIDE: u32 = 64;

/// A thumbnail with its image.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    thumbnail: Thumbnail,
    /// PNG as a `data:` address; none where the pixels are not an image.
    image: Option<String>,
}

/// The newest thumbnails.
#[derive(Serialize)]
struct ThumbnailsReply {
    accepted: Vec<Shown>,
    rejected: Vec<Shown>,
    disagreeing: Vec<Shown>,
}

/// Answers with the thumbnails.
pub async fn thumbnails(State(shared): State<Arc<Shared>>) -> Result<Response, Refused> {
    blocking(move || {
        let Thumbnails { accepted, rejected, disagreeing } = shared.status.thumbnails.lock().clone();
        let show = |thumbnails: VecDeque<Thumbnail>| thumbnails.into_iter().map(show).collect();
        let (accepted, rejected, disagreeing) = (show(accepted), show(rejected), show(disagreeing));
        Json(ThumbnailsReply { accepted, rejected, disagreeing }).into_response()
    })
    .await
}

fn show(thumbnail: Thumbnail) -> Shown {
    let image = png(thumbnail.shape, &thumbnail.pixels).map(|png| {
        let text = STANDARD.encode(png);
        format!("data:image/png;base64,{text}")
    });
    Shown { thumbnail, image }
}

/// Encodes pixels as a PNG of at most [`SIDE`] by [`SIDE`]; none where they are not an image.
fn png([height, width, channels]: [u32; 3], pixels: &[u8]) -> Option<Vec<u8>> {
    let pixels = pixels.to_vec();
    let mut image: DynamicImage = match channels {
        1 => GrayImage::from_raw(width, height, pixels)?.into(),
        3 => RgbImage::from_raw(width, height, pixels)?.into(),
        _ => return None,
    };
    if width == 0 || height == 0 {
        return None;
    }
    if width > SIDE || height > SIDE {
        image = image.resize(SIDE, SIDE, FilterType::Triangle);
    }
    let mut bytes = Vec::new();
    image.write_with_encoder(PngEncoder::new(&mut bytes)).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back_and_large_images_are_made_small() {
        let pixels: Vec<u8> = (0..12).collect();
        for (shape, grey) in [([3, 4, 1], true), ([2, 2, 3], false)] {
            let read = image::load_from_memory(&png(shape, &pixels).unwrap()).unwrap();
            assert_eq!((read.height(), read.width()), (shape[0], shape[1]));
            let same = if grey { read.to_luma8().into_raw() } else { read.to_rgb8().into_raw() };
            assert_eq!(same, pixels);
        }
        let large = image::load_from_memory(&png([200, 100, 1], &[7; 20_000]).unwrap()).unwrap();
        assert_eq!((large.height(), large.width()), (64, 32));
        for (shape, count) in [([2, 2, 1], 3), ([0, 0, 1], 0), ([2, 2, 2], 8), ([u32::MAX, u32::MAX, 3], 12)]
        {
            assert_eq!(png(shape, &vec![0; count]), None, "{shape:?}");
        }
    }
}
