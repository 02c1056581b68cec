//! Images as people have them (`tests/data/images`, written by Pillow): each gives the pixels that Pillow sees, or says
//! what is wrong.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_stream::decode::{self, Background, Options};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SIDE: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images")
}

fn format(channels: usize) -> Format {
    let shape = Shape::Image { channels, height: SIDE, width: SIDE };
    Format { shape, dtype: Dtype::U8, scale: 1.0, classes: Vec::new() }
}

fn expected() -> BTreeMap<String, Vec<[u8; 3]>> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap()
}

fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.ends_with(".py") && !name.ends_with(".json"));
    names.sort();
    names
}

/// Reads a file as a folder or a feeder does.
fn read(path: &Path, options: &Options) -> Result<Vec<u8>, String> {
    let mut records = decode::open(path, &format(3), options).map_err(|error| error.to_string())?;
    let record = records.next_record().map_err(|fault| fault.to_string())?.expect("an image has one sample");
    assert_eq!(records.next_record(), Ok(None), "{}", path.display());
    match record.values {
        Values::U8(pixels) => Ok(pixels),
        Values::F32(_) => panic!("pixels are bytes"),
    }
}

#[test]
fn every_image_is_as_pillow_sees_it() {
    let expected = expected();
    let refused: Vec<String> = names().into_iter().filter(|name| !expected.contains_key(name)).collect();
    assert_eq!(
        refused,
        ["float.tiff", "without-end.jpg"],
        "every other file has its pixels in expected.json"
    );
    for (name, pixels) in expected {
        if name == "palette.tiff" {
            continue; // below
        }
        let found =
            read(&folder().join(&name), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
        let lossy = ["jpg", "jfif", "lossy", "jpeg", "cmyk"].iter().any(|kind| name.contains(kind));
        let most = if lossy { 4 } else { 1 };
        for (at, pixel) in pixels.iter().enumerate() {
            for (channel, value) in pixel.iter().enumerate() {
                let own = found[channel * SIDE * SIDE + at];
                assert!(own.abs_diff(*value) <= most, "{name}: pixel {at} is {own} instead of {value}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for (name, says) in [
        ("without-end.jpg", "the image is truncated"),
        ("float.tiff", "not a readable image"),
        ("palette.tiff", "not a readable image"),
    ] {
        let error = read(&folder().join(name), &Options::default()).unwrap_err();
        assert!(error.contains(says), "{name}: {error}");
    }
}

#[test]
fn a_truncated_image_gives_no_other_pixels() {
    for name in names() {
        let whole = std::fs::read(folder().join(&name)).unwrap();
        let pixels = decode::image(&whole, &format(3), &Options::default());
        for length in 0..whole.len() {
            let cut = decode::image(&whole[..length], &format(3), &Options::default());
            // What follows the pixels, such as a second page, may be missing.
            assert!(cut.is_err() || cut == pixels, "{name}, cut at {length}, has other pixels");
        }
    }
}

#[test]
fn transparent_parts_show_the_background() {
    for name in ["glyph.png", "glyph.webp", "glyph.gif"] {
        let corner = |background: &str| {
            let options = Options { background: background.parse().unwrap(), ..Options::default() };
            let pixels = read(&folder().join(name), &options).unwrap();
            (pixels[0], pixels[SIDE * SIDE], pixels[2 * SIDE * SIDE], pixels[3 * SIDE + 3])
        };
        assert_eq!(corner("white"), (255, 255, 255, 0), "{name}");
        assert_eq!(corner("#102030"), (16, 32, 48, 0), "{name}");
    }
    let half = |background| {
        let options = Options { background: Background([background; 3]), ..Options::default() };
        read(&folder().join("half.png"), &options).unwrap()
    };
    assert!(half(255)[0] > 200 && half(0)[0] < 20);
    assert!("mauve".parse::<Background>().unwrap_err().contains("white, grey, black"));
    assert!("#12345g".parse::<Background>().is_err() && "#1234567".parse::<Background>().is_err());
}

#[test]
fn a_small_file_that_claims_to_be_large_is_refused_before_it_is_unpacked() {
    let change = |name: &str, at: usize, bytes: &[u8]| {
        let mut file = std::fs::read(folder().join(name)).unwrap();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    // Width, height, width in strips: places in the headers of the kept files.
    let tiff = std::fs::read(folder().join("rgb.tif")).unwrap();
    let entry = |tag: u8| {
        let wanted = [tag, 1];
        let start = u32::from_le_bytes([tiff[4], tiff[5], tiff[6], tiff[7]]) as usize + 2;
        (start..).step_by(12).find(|at| tiff[*at..*at + 2] == wanted).unwrap() + 8
    };
    let mut large_tiff = change("rgb.tif", entry(0), &16_000u32.to_le_bytes());
    large_tiff[entry(1)..entry(1) + 4].copy_from_slice(&16_000u32.to_le_bytes());
    for (name, file) in [
        ("gif", change("rgb.gif", 6, &[0xff, 0xff, 0xff, 0xff])),
        ("bmp", change("rgb.bmp", 18, &[0xff, 0x3f, 0, 0, 0xff, 0x3f, 0, 0])),
        ("webp", change("lossy.webp", 26, &[0xff, 0x3f, 0xff, 0x3f])),
        ("webp of 4 GiB", change("lossy.webp", 4, &[0xff; 4])),
        ("tiff", large_tiff),
    ] {
        let resize = Options { resize: true, ..Options::default() };
        assert!(decode::image(&file, &format(3), &resize).is_err(), "{name}");
    }
}

#[test]
fn a_folder_of_folders_is_read_and_names_the_classes() {
    let root = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("rgb.png", "train/ant/a.PNG"),
        ("lossy.webp", "train/ant/2021/b.webp"),
        ("photo.jfif", "train/bee/c.jfif"),
        ("film.gif", "train/bee/d.gif"),
        ("lzw.tiff", "train/cat/deep/er/e.tiff"),
        ("rgb.tif", "train/cat/f.tif"),
        ("rgb.bmp", "train/cat/g.bmp"),
        ("without-end.jpg", "train/cat/h.jpg"),
        ("write.py", "train/cat/write.py"),
    ] {
        let to = root.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(folder().join(from), to).unwrap();
    }
    let path = root.path().join("train");
    let options = format!(
        "path = {:?}\nshape = [3, 8, 8]\ndtype = \"u8\"\norder = \"name\"\nfollow = false\nsettle = \"0s\"\npoll = \"0s\"",
        path.to_str().unwrap()
    );
    let context = Context { state: Some(root.path().into()), ..Context::default() };
    let spec = Spec { kind: "folder".into(), options: options.parse().unwrap() };
    let mut source = (SOURCES.find("folder").unwrap().build)(&spec, &context).unwrap();
    assert_eq!(source.format().classes, ["ant", "bee", "cat"]);
    let mut samples = Samples::none(Dtype::U8);
    let deadline = Instant::now() + Duration::from_secs(60);
    while source.read(3, &mut samples).unwrap() != ReadProgress::End {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(samples.truth.reveal(), [0, 0, 1, 1, 2, 2, 2]);
    assert_eq!(source.dead_letters(), 1);
}
