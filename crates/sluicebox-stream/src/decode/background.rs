//! The colour that lies behind the transparent parts of an image.

use ::image::{DynamicImage, RgbImage};
use serde::{Deserialize, Serialize};

/// An opaque colour: red, green and blue.
///
/// ```
/// use sluicebox_stream::decode::Background;
///
/// assert_eq!("#ff8000".parse(), Ok(Background([255, 128, 0])));
/// assert_eq!("black".parse(), Ok(Background([0; 3])));
/// assert_eq!(Background::default().to_string(), "white");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Background(#[schemars(with = "String")] pub [u8; 3]);

const NAMES: [(&str, [u8; 3]); 3] = [("white", [255; 3]), ("grey", [128; 3]), ("black", [0; 3])];

impl Default for Background {
    fn default() -> Self {
        Self([255; 3])
    }
}

impl Background {
    /// Returns whether it is the default.
    pub fn is_white(&self) -> bool {
        *self == Self::default()
    }

    /// Returns an image with this colour behind its transparent parts; any other image as it is.
    pub fn behind(self, image: DynamicImage) -> DynamicImage {
        if !image.color().has_alpha() {
            return image;
        }
        let seen = image.to_rgba8();
        let mut opaque = RgbImage::new(seen.width(), seen.height());
        for (to, from) in opaque.pixels_mut().zip(seen.pixels()) {
            let [colour @ .., alpha] = from.0;
            let mixed = |part: usize| {
                let (own, other) = (u32::from(colour[part]), u32::from(self.0[part]));
                let alpha = u32::from(alpha);
                ((own * alpha + other * (255 - alpha) + 127) / 255) as u8
            };
            to.0 = [mixed(0), mixed(1), mixed(2)];
        }
        opaque.into()
    }
}

impl std::str::FromStr for Background {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, colour)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*colour));
        }
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match number {
            Some(number) => Ok(Self([(number >> 16) as u8, (number >> 8) as u8, number as u8])),
            None => Err(format!("`{text}` is not a colour: white, grey, black or \"#rrggbb\"")),
        }
    }
}

impl TryFrom<String> for Background {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match NAMES.iter().find(|(_, colour)| *colour == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "#{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2]),
        }
    }
}

impl From<Background> for String {
    fn from(colour: Background) -> String {
        colour.to_string()
    }
}
