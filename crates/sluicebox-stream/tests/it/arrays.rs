//! Arrays as people have them (`tests/data/arrays`, written by NumPy): each gives the images that it holds, or says what
//! is wrong.

use sluicebox_core::config::registry::Spec;
use sluicebox_core::error::Result;
use sluicebox_core::sample::{Dtype, Samples, Shape, Values};
use sluicebox_stream::source::SOURCES;
use sluicebox_stream::source::api::{Context, ReadProgress, Source};
use std::path::Path;

const COUNT: usize = 12;
const HEIGHT: usize = 6;
const WIDTH: usize = 8;

fn build(options: &str, context: &Context) -> Result<Box<dyn Source>> {
    build_kind("npy", options, context)
}

fn build_kind(kind: &str, options: &str, context: &Context) -> Result<Box<dyn Source>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/arrays");
    let mut options: toml::Table = options.parse().unwrap();
    options.insert("path".into(), folder.to_str().unwrap().into());
    options.entry("labelled_per_class").or_insert(1.into());
    options.insert("repeat".into(), false.into());
    (SOURCES.find(kind)?.build)(&Spec { kind: kind.into(), options }, context)
}

fn open(options: &str) -> Box<dyn Source> {
    build(options, &Context::default()).unwrap_or_else(|error| panic!("{options}: {error}"))
}

fn refused(options: &str) -> String {
    build(options, &Context::default()).err().unwrap_or_else(|| panic!("{options} is read")).to_string()
}

/// Returns all images of a source in their order, labelled ones among them, with their classes.
fn all(source: &mut dyn Source) -> Vec<(Vec<f32>, i64)> {
    let labelled = source.labelled().unwrap();
    let mut samples = Samples::none(source.format().dtype);
    while source.read(100, &mut samples).unwrap() != ReadProgress::End {}
    let numbers = |values: &Values| match values {
        Values::U8(values) => values.iter().map(|value| f32::from(*value)).collect(),
        Values::F32(values) => values.clone(),
    };
    let values: Vec<f32> = [numbers(&labelled.values), numbers(&samples.values)].concat();
    let classes = labelled.classes.iter().copied();
    let classes = classes.chain(samples.truth.reveal().iter().map(|class| i64::from(*class)));
    let mut all: Vec<(Vec<f32>, i64)> =
        values.chunks(source.format().shape.len()).map(<[f32]>::to_vec).zip(classes).collect();
    all.sort_by(|a, b| a.0[0].total_cmp(&b.0[0]));
    all
}

/// Returns an image as the script makes it.
fn image(at: usize, channels: usize) -> Vec<f32> {
    let pixel = |y: usize, x: usize| (20 * at + 8 * y + x) % 251;
    let plane = |channel: usize| {
        (0..HEIGHT).flat_map(move |y| (0..WIDTH).map(move |x| (pixel(y, x) + channel) as f32))
    };
    (0..channels).flat_map(plane).collect()
}

#[test]
fn numbers_of_every_type() {
    for (name, dtype, factor) in [
        ("u8", Dtype::U8, 1.0),
        ("u16", Dtype::F32, 257.0),
        ("big-endian", Dtype::F32, 1.0),
        ("i64", Dtype::F32, 1.0),
        ("f16", Dtype::F32, 1.0),
        ("f32", Dtype::F32, 1.0),
        ("f64", Dtype::F32, 1.0),
        ("unit", Dtype::F32, 1.0 / 255.0),
    ] {
        let mut source = open(&format!("samples = \"{name}.npy\""));
        let shape = Shape::Image { channels: 1, height: HEIGHT, width: WIDTH };
        assert_eq!((source.format().shape, source.format().dtype), (shape, dtype), "{name}");
        assert_eq!(source.format().scale, if dtype == Dtype::U8 { 1.0 / 255.0 } else { 1.0 });
        let mut wanted: Vec<(Vec<f32>, i64)> = (0..COUNT).map(|at| (image(at, 1), (at % 3) as i64)).collect();
        wanted.sort_by(|a, b| a.0[0].total_cmp(&b.0[0]));
        for ((found, class), (wanted, same)) in all(&mut *source).iter().zip(&wanted) {
            assert_eq!(class, same, "{name}");
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b * factor).abs() < 1e-4 * factor), "{name}");
        }
    }
    assert_eq!(open("samples = \"bool.npy\"").format().dtype, Dtype::F32);
    assert_eq!(open("samples = \"u16.npy\"\nscale = 1.5259e-5").format().scale, 1.5259e-5);
}

#[test]
fn channels_are_found_first_or_last() {
    for (name, channels) in [("last1", 1), ("last2", 2), ("last3", 3), ("last4", 4), ("first4", 4)] {
        let mut source = open(&format!("samples = \"{name}.npy\""));
        let shape = Shape::Image { channels, height: HEIGHT, width: WIDTH };
        assert_eq!(source.format().shape, shape, "{name}");
        let found = all(&mut *source);
        assert!(found.iter().any(|(values, class)| *values == image(4, channels) && *class == 1), "{name}");
    }
    assert!(refused("samples = \"square.npy\"").contains("set source.layout"));
    open("samples = \"square.npy\"\nlayout = \"channels-last\"");
    let first = open("samples = \"last3.npy\"\nlayout = \"channels-first\"").format().shape;
    assert_eq!(first, Shape::Image { channels: HEIGHT, height: WIDTH, width: 3 }, "as declared");
}

#[test]
fn labels_of_every_kind() {
    for (labels, classes) in [
        ("labels", ["0", "1", "2"]),
        ("labels-f64", ["0", "1", "2"]),
        ("labels-column", ["0", "1", "2"]),
        ("labels-names", ["ant", "bee", "cockchafer"]),
        ("labels-bytes", ["ant", "bee", "cockchafer"]),
        ("labels-from-1", ["1", "2", "3"]),
        ("labels-unknown", ["0", "1", "2"]),
        ("labels-nan", ["0", "1", "2"]),
        ("labels-empty", ["ant", "bee", "cockchafer"]),
    ] {
        let mut source = open(&format!("samples = \"u8.npy\"\nlabels = \"{labels}.npy\""));
        assert_eq!(source.format().classes, classes, "{labels}");
        let half = ["labels-unknown", "labels-nan", "labels-empty"].contains(&labels);
        for (values, class) in all(&mut *source) {
            let at = (0..COUNT).find(|at| image(*at, 1) == values).unwrap();
            let wanted = if half && at % 2 == 0 { -1 } else { (at % 3) as i64 };
            assert_eq!(class, wanted, "{labels}");
        }
    }
}

#[test]
fn a_set_is_used_as_it_is_labelled() {
    let set = "samples = \"u8.npy\"\nlabels = \"labels-unequal.npy\"\n";
    let labelled = |more: &str| {
        let labelled = open(&format!("{set}{more}")).labelled().unwrap().classes;
        [0, 1, 2].map(|class| labelled.iter().filter(|other| **other == class).count())
    };
    assert_eq!(labelled("labelled_per_class = 3"), [3, 2, 1]);
    assert_eq!(labelled("labelled = \"all\""), [8, 2, 1]);
    assert_eq!(labelled("labelled = 10").iter().sum::<usize>(), 10);
    assert_eq!(labelled("labelled = 50"), [8, 2, 1], "there are no more");
    let error = refused("samples = \"u8.npy\"\nlabelled = \"all\"");
    assert!(error.contains("every sample is labelled"), "{error}");
}

#[test]
fn images_outside_of_0_to_1_are_refused_where_a_view_would_clamp_them() {
    let folder = tempfile::tempdir().unwrap();
    let view = Some("views.strong[0] (noise)".to_string());
    let context = Context { state: Some(folder.path().into()), bounded_view: view, ..Context::default() };
    for (name, says) in [
        ("f32", "set source.scale = 0.00392157 (1/255)"),
        ("i64", "set source.scale = 0.00392157 (1/255)"),
        ("f16", "set source.scale = 0.00392157 (1/255)"),
        ("u16", "set source.scale = 1.52590219e-5 (1/65535)"),
        ("standardised", "set model.normalise"),
    ] {
        let refused = |more: &str| {
            let built = build(&format!("samples = \"{name}.npy\"\n{more}"), &context);
            let read = built.and_then(|mut source| source.read(100, &mut Samples::none(Dtype::F32)));
            read.unwrap_err().to_string()
        };
        for more in ["", "labels = \"\""] {
            let error = refused(more);
            assert!(error.contains(says) && error.contains("views.strong[0] (noise)"), "{name}: {error}");
        }
        build(&format!("samples = \"{name}.npy\""), &Context::default()).unwrap();
    }
    for (name, scale) in
        [("f32", "0.00392157"), ("u16", "1.52590219e-5"), ("unit", "1"), ("u8", "0.00392157")]
    {
        let mut source = build(&format!("samples = \"{name}.npy\"\nscale = {scale}"), &context).unwrap();
        assert_eq!(all(&mut *source).len(), COUNT, "{name}");
    }
    assert!(
        build("samples = \"u8.npy\"\nscale = 1", &context).err().unwrap().to_string().contains("(1/255)")
    );
    let mut source = build("samples = \"one-outside.npy\"\nmax_bad = 0.2", &context).unwrap();
    assert_eq!((all(&mut *source).len(), source.dead_letters()), (COUNT - 1, 1), "one outlier costs itself");
}

#[test]
fn what_cannot_be_read_says_why() {
    for (options, says) in [
        ("samples = \"fortran.npy\"", "Fortran order"),
        ("samples = \"complex.npy\"", "numbers of type <c8"),
        ("samples = \"objects.npy\"", "numbers of type |O"),
        ("samples = \"dates.npy\"", "plain numbers are needed"),
        ("samples = \"u8.npy\"\nlabels = \"labels-255.npy\"", "a byte cannot hold -1"),
        ("samples = \"records.npy\"", "the array holds records"),
        ("samples = \"labels-names.npy\"", "numbers of type <U10"),
        ("samples = \"u8.npy\"\nlabels = \"labels-one-hot.npy\"", "each sample has one class"),
        ("samples = \"u8.npy\"\nlabels = \"unit.npy\"", "each sample has one class"),
    ] {
        let error = refused(options);
        assert!(error.contains(says), "{options}: {error}");
    }
}

#[test]
fn idx_of_every_type() {
    let open = |images: &str, labels: &str| {
        let options = format!("images = \"{images}\"\nlabels = \"{labels}\"\ntest_images = \"\"");
        build_kind("idx", &options, &Context::default()).unwrap_or_else(|error| panic!("{images}: {error}"))
    };
    for (images, dtype, factor) in [
        ("u1.idx3-ubyte", Dtype::U8, 1.0),
        ("u1-idx3-ubyte", Dtype::U8, 1.0),
        ("i1.idx", Dtype::F32, 0.5),
        ("i2.idx", Dtype::F32, 1.0),
        ("i4.idx", Dtype::F32, 1.0),
        ("f4.idx", Dtype::F32, 1.0),
        ("f8.idx", Dtype::F32, 1.0),
    ] {
        for labels in ["labels-u1.idx", "labels-i4.idx"] {
            let mut source = open(images, labels);
            assert_eq!((source.format().dtype, source.format().classes.join(" ")), (dtype, "1 2 3".into()));
            let found = all(&mut *source);
            assert_eq!(found.len(), COUNT);
            let wanted: Vec<f32> = image(4, 1).into_iter().map(|pixel| (pixel * factor).floor()).collect();
            assert!(found.iter().any(|(values, class)| *values == wanted && *class == 1), "{images}");
        }
    }
    let mut colour = open("rgb.idx", "labels-u1.idx");
    assert_eq!(colour.format().shape, Shape::Image { channels: 3, height: HEIGHT, width: WIDTH });
    assert!(all(&mut *colour).iter().any(|(values, _)| *values == image(4, 3)));
}
